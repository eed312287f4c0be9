//! Looking at what is stored, and checking health now.

use super::storage;
use crate::engine::{Answer, Engine};
use crate::handle::{EventFilter, HealthRecord};
use myagent_core::error::{Code, Problem};
use myagent_core::event::Event;
use myagent_core::instance::InstanceState;
use myagent_supervisor::Command as InstanceCommand;
use tokio::sync::oneshot;

/// Most items of one answer.
const MOST: usize = 10_000;

impl Engine {
    pub(crate) fn list_events(&self, filter: &EventFilter) -> Result<Vec<Event>, Problem> {
        let service = filter.service.as_deref().map(|name| self.fleet.find(name)).transpose()?;
        let limit = filter.limit.unwrap_or(100).min(MOST) as u32;
        let filter = myagent_store::EventFilter { service, after_id: filter.after_id, limit };
        self.store.events(&filter).map_err(|error| storage(&error))
    }

    pub(crate) fn health_history(&self, name: &str, limit: usize) -> Result<Vec<HealthRecord>, Problem> {
        let id = self.fleet.find(name)?;
        let name = self.fleet.services.get(&id).map_or(name, |entry| entry.service.name.as_str());
        let checks = self.store.health_checks(id, limit.min(MOST) as u32).map_err(|error| storage(&error))?;
        Ok(checks
            .into_iter()
            .map(|check| HealthRecord {
                at: check.at,
                instance: format!("{name}-{}", check.index),
                healthy: check.healthy,
                latency_ms: check.latency_ms.unwrap_or_default(),
                message: check.message,
            })
            .collect())
    }

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
