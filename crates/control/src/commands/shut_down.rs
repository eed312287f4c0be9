//! End: stop every instance, or let go of them. What users want stays as it is stored.

use crate::engine::{Answer, Engine};
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
                for entry in self.fleet.services.values_mut() {
                    entry.slots.values_mut().for_each(|slot| slot.command(InstanceCommand::Stop));
                    self.fleet.dirty.insert(entry.service.service_id);
                }
            }
            StopAll::Keep => {
                for entry in self.fleet.services.values() {
                    for slot in entry.slots.values() {
                        slot.handle.send(InstanceCommand::LetGo);
                    }
                }
                self.end();
            }
        }
    }
}
