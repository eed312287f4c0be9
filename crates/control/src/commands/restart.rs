//! Restart: the instances one by one, or all at once.

use crate::engine::{Answer, Engine};
use crate::handle::RestartMode;
use crate::rolling;
use myagent_core::InstanceKey;
use myagent_core::error::{Code, Problem};
use myagent_supervisor::Command as InstanceCommand;

impl Engine {
    pub(crate) fn restart(&mut self, name: &str, mode: RestartMode, who: &str, answer: Answer<()>) {
        let id = match self.fleet.find(name) {
            Ok(id) => id,
            Err(problem) => {
                let _ = answer.send(Err(problem));
                return;
            }
        };
        let Some(entry) = self.fleet.services.get(&id) else { return };
        let name = entry.service.name.clone();
        let keys: Vec<InstanceKey> =
            (0..entry.service.replicas).map(|index| InstanceKey { service_id: id, index }).collect();
        let how = if mode == RestartMode::Rolling && keys.len() > 1 { "one by one" } else { "all at once" };
        self.record(who, "service.restart", Some(id), None, format!("asked for by {who}, {how}"));
        let handle = self.handle.clone();
        self.work.spawn(async move {
            let result = rolling::restart(handle, &name, keys, mode).await;
            // The asker may have left; the restart was made all the same.
            let _ = answer.send(result);
        });
    }

    pub(crate) fn restart_instance(&mut self, key: InstanceKey, leave: bool) -> Result<(), Problem> {
        // Between two instances of a restart the user may have stopped the service: that is what holds.
        let entry = self.fleet.services.get(&key.service_id);
        if entry.is_some_and(|entry| !entry.to_run()) {
            return Err(Problem::new(Code::ServiceStartFailed, "the service was stopped meanwhile"));
        }
        let slot = self.fleet.slot(key);
        let slot = slot.ok_or_else(|| Problem::new(Code::ServiceStartFailed, "the instance is gone"))?;
        let command = if leave { InstanceCommand::Leave { again: true } } else { InstanceCommand::Restart };
        slot.command(command);
        self.fleet.dirty.insert(key.service_id);
        self.publish();
        Ok(())
    }
}
