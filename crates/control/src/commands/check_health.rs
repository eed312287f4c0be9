//! Checking health now.

use crate::engine::{Answer, Engine};
use myagent_core::error::{Code, Problem};
use myagent_core::health::HealthRecord;
use myagent_core::instance::InstanceState;
use myagent_supervisor::Command as InstanceCommand;
use tokio::sync::oneshot;

impl Engine {
    pub(crate) fn check_health(&mut self, name: &str, answer: Answer<Vec<HealthRecord>>) {
        let entry = self.fleet.find(name).map(|id| self.fleet.services.get(&id));
        let entry = match entry {
            Ok(Some(entry)) => entry,
            Ok(None) => return,
            Err(problem) => {
                let _ = answer.send(Err(problem));
                return;
            }
        };
        let mut waiting = Vec::new();
        for (index, slot) in &entry.slots {
            if matches!(slot.state(), InstanceState::Running | InstanceState::Unhealthy) {
                let (sender, receiver) = oneshot::channel();
                slot.handle.send(InstanceCommand::CheckHealth(sender));
                waiting.push((format!("{}-{index}", entry.service.name), receiver));
            }
        }
        if waiting.is_empty() {
            let detail = format!("no instance of {name} is running; start it first");
            let _ = answer.send(Err(Problem::new(Code::HealthCheckFailed, detail)));
            return;
        }
        self.work.spawn(async move {
            let mut records = Vec::new();
            for (instance, receiver) in waiting {
                if let Ok(check) = receiver.await {
                    let latency_ms = check.latency.as_secs_f64() * 1000.0;
                    let (healthy, message) = (check.failure.is_none(), check.failure);
                    records.push(HealthRecord { at: check.at, instance, healthy, latency_ms, message });
                }
            }
            let _ = answer.send(Ok(records));
        });
    }
}
