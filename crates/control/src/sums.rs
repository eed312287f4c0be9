//! What runners have counted: theirs while they live, their service's and instance's afterwards, and in the store in time.

use crate::engine::Engine;
use myagent_core::InstanceKey;
use myagent_core::wire::sums::Sums;
use std::time::Duration;

/// How often what runners have counted is noted.
pub(crate) const SUMS_EVERY: Duration = Duration::from_mins(1);

impl Engine {
    /// What a runner has counted is the service's from now on, and no longer the instance's.
    pub(crate) fn retire(&mut self, key: InstanceKey, sums: &Sums) {
        if *sums == Sums::default() {
            return;
        }
        let id = key.service_id;
        if let Some(entry) = self.fleet.services.get_mut(&id) {
            entry.retired.add(sums);
            entry.retired_instances.entry(key.index).or_default().add(&sums.totals);
            if let Some(slot) = entry.slots.get_mut(&key.index) {
                slot.observed.report.take_sums();
                slot.stored_sums = Sums::default();
            }
        }
        self.unsaved.sums.entry(key).or_default().add(sums);
    }

    /// Notes what runners have counted, for the case that they end while no manager looks.
    pub(crate) fn store_sums(&mut self) {
        let mut changed = Vec::new();
        for (service_id, entry) in &self.fleet.services {
            for (index, slot) in &entry.slots {
                let Some(runner) = &slot.observed.runner else { continue };
                let sums = slot.observed.report.sums();
                if sums != slot.stored_sums {
                    let key = InstanceKey { service_id: *service_id, index: *index };
                    changed.push((key, runner.start_id, sums));
                }
            }
        }
        // What is not stored now is stored the next time.
        if !changed.is_empty()
            && self.try_store("note the sums of runners", |store| store.put_live_sums(&changed))
        {
            for (key, _, sums) in changed {
                if let Some(slot) = self.fleet.slot(key) {
                    slot.stored_sums = sums;
                }
            }
        }
    }
}
