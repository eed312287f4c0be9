//! End: stop every instance, or let go of them. What users want stays as it is stored.

use crate::engine::{Answer, Engine, STOP_PACE};
use crate::handle::StopAll;
use myagent_supervisor::Command as InstanceCommand;

impl Engine {
    pub(crate) fn shut_down(&mut self, instances: StopAll, who: &str, answer: Answer<()>) {
        let why = match instances {
            StopAll::Stop => "services are stopped and will be started with the next manager",
            StopAll::Keep => "services go on without a manager",
        };
        self.record(who, "manager.shutdown", None, None, why.to_owned());
        self.ending = Some(answer);
        match instances {
            StopAll::Stop => {
                let slots = self.fleet.services.values().flat_map(|entry| entry.slots.values());
                let clients: u32 = slots.map(|slot| slot.observed.report.active_connections).sum();
                let spread = STOP_PACE.saturating_mul(clients);
                for entry in self.fleet.services.values_mut() {
                    entry.slots.values_mut().for_each(|slot| slot.command(InstanceCommand::Stop { spread }));
                    self.fleet.dirty.insert(entry.service.service_id);
                }
            }
            StopAll::Keep => {
                for entry in self.fleet.services.values() {
                    for slot in entry.slots.values() {
                        slot.handle.send(InstanceCommand::LetGo);
                    }
                }
                // Whatever is being stopped or drained goes on with that, or is taken up by the next manager.
                self.end(Ok(()));
            }
        }
    }
}
