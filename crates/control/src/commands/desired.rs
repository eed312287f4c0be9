//! Start and stop: what the user wants is stored first, then done.

use super::storage;
use crate::engine::Engine;
use myagent_core::error::{Code, Problem};
use myagent_core::instance::InstanceState;
use myagent_core::service::Desired;
use myagent_supervisor::Command as InstanceCommand;
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    pub(crate) fn set_desired(&mut self, name: &str, desired: Desired, who: &str) -> Result<(), Problem> {
        let id = self.fleet.find(name)?;
        let Some(entry) = self.fleet.services.get_mut(&id) else {
            return Err(Problem::new(Code::Internal, "the service is named but not known"));
        };
        let changed = entry.service.desired != desired;
        if changed {
            let now = self.clock.now();
            self.store.set_desired(id, desired, now).map_err(|error| storage(&error))?;
            let mut service = entry.service.as_ref().clone();
            (service.desired, service.updated_at) = (desired, now);
            entry.service = Arc::new(service);
            entry.configure();
        }
        // Planning starts what is stopped and stops what is active. What has given up, waits, or could not be stopped before
        // is told again because the user says so again.
        for slot in entry.slots.values_mut() {
            let waits = slot.observed.next_try.is_some() || slot.state() == InstanceState::Error;
            match desired {
                Desired::Running if waits => slot.command(InstanceCommand::Start),
                // The one that was to stop some time is to stop now.
                Desired::Stopped if slot.state() == InstanceState::Error || slot.is_leaving() => {
                    slot.command(InstanceCommand::Stop { spread: Duration::ZERO });
                }
                _ => {}
            }
        }
        self.fleet.dirty.insert(id);
        if changed {
            let kind = if desired == Desired::Running { "service.start" } else { "service.stop" };
            self.record(who, kind, Some(id), None, format!("asked for by {who}"));
        }
        self.reconcile();
        self.publish();
        Ok(())
    }
}
