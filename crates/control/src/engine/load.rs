//! The beginning: what is stored becomes the fleet, and the runners that an earlier manager left are found again.

use super::Engine;
use crate::fleet::{Entry, Slot, unobserved};
use crate::publish::FLEET;
use myagent_core::routing::CompiledRule;
use myagent_core::wire::sums::Sums;
use myagent_core::{InstanceKey, StartId};
use myagent_store::{StoreError, StoredInstance};
use myagent_supervisor::{Past, RunnerRecord};
use std::collections::BTreeMap;

impl Engine {
    pub(super) fn load(&mut self) -> Result<(), StoreError> {
        let mut totals = self.store.totals()?;
        let mut live: BTreeMap<(InstanceKey, StartId), Sums> = self
            .store
            .live_sums()?
            .into_iter()
            .map(|(key, start_id, sums)| ((key, start_id), sums))
            .collect();
        for service in self.store.services()? {
            let id = service.service_id;
            let secrets = match self.store.secrets(id) {
                // The fleet must not stand still for it: this service does not start, and says why.
                Err(error @ StoreError::SecretUnreadable { .. }) => {
                    tracing::error!(service = service.name, %error, "no secrets");
                    BTreeMap::new()
                }
                secrets => secrets?,
            };
            let retired = totals.remove(&id).unwrap_or_default();
            self.fleet.insert(Entry::new(service, secrets, retired));
        }
        for (id, peak) in self.store.peaks()? {
            match self.fleet.services.get_mut(&id) {
                Some(entry) => entry.peak = peak,
                None if id == FLEET => {
                    self.fleet.peak = peak;
                    self.peak.send_replace(peak);
                }
                None => {}
            }
        }
        for (key, totals) in self.store.instance_totals()? {
            if let Some(entry) = self.fleet.services.get_mut(&key.service_id) {
                entry.retired_instances.insert(key.index, totals);
            }
        }
        self.load_rules()?;
        let stored = self.store.instances()?;
        let known = stored.iter().map(|instance| instance.start_id).collect();
        let (exe, config) = (self.deps.config.exe.clone(), self.deps.config.clone());
        let strays = crate::strays::find(&config.tree_dir, &known);
        self.work.spawn(crate::strays::clear(exe, config, strays));
        for instance in stored {
            let sums = live.remove(&(instance.key(), instance.start_id)).unwrap_or_default();
            self.take_up(instance, sums)?;
        }
        // Of runners that nobody will find again.
        for ((key, _), sums) in live {
            self.retire(key, &sums);
        }
        Ok(())
    }

    fn load_rules(&mut self) -> Result<(), StoreError> {
        for rule in self.store.rules()? {
            let (id, name) = (rule.rule_id, rule.spec.name.clone());
            match CompiledRule::new(rule) {
                Ok(rule) => self.rules.put(rule),
                // Of a later version, or edited by hand: it stays stored, and the others hold.
                Err(errors) => {
                    let faults = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                    tracing::error!(rule = name, %id, faults, "a stored rule cannot be used");
                    self.record("manager", "rule.unusable", None, None, format!("rule {name:?}: {faults}"));
                }
            }
        }
        Ok(())
    }

    /// An instance that an earlier manager had.
    fn take_up(&mut self, stored: StoredInstance, sums: Sums) -> Result<(), StoreError> {
        let key = stored.key();
        if !self.fleet.services.contains_key(&key.service_id) {
            // Its service was removed while it was being stopped: its runner is a stray now.
            self.store.delete_instance(key)?;
            return Ok(());
        }
        let Some(pid) = stored.runner_pid else {
            self.retire(key, &sums);
            return Ok(());
        };
        if crate::strays::is_of_another(&stored.tree, &self.deps.config.tree_dir) {
            // The database is a copy. Its runners are those of the original.
            tracing::warn!(tree = %stored.tree.display(), "an instance of another data directory is left alone");
            self.retire(key, &sums);
            self.store.delete_instance(key)?;
            return Ok(());
        }
        let Some(entry) = self.fleet.services.get_mut(&key.service_id) else { return Ok(()) };
        let past = Past {
            runner: Some(RunnerRecord {
                start_id: stored.start_id,
                pid,
                start_time: stored.runner_start_time,
                control: stored.control.clone(),
                takeover: stored.takeover.clone(),
                tree: stored.tree.clone(),
                port: (stored.port != 0).then_some(stored.port),
                started_at: stored.started_at,
                ready_at: stored.ready_at,
                version: stored.version,
            }),
            restarts: stored.restart_count,
            error: stored.error.clone(),
            last_exit: stored.last_exit.clone(),
            last_lines: stored.last_lines.clone(),
            sums: sums.clone(),
        };
        let wanted = entry.wanted(key.index);
        let handle = myagent_supervisor::spawn(&mut self.tasks, self.deps.clone(), wanted, past);
        let mut observed = unobserved();
        observed.state = myagent_core::instance::InstanceState::Starting;
        observed.activity = myagent_core::reconcile::Observed::Active;
        observed.may_become_eligible = true;
        let mut slot = Slot::new(handle, observed);
        slot.stored = Some(stored);
        slot.stored_sums = sums;
        entry.slots.insert(key.index, slot);
        Ok(())
    }
}
