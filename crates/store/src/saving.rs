//! What is stored together, in one transaction, although nobody waits for it: events, what is known of instances, health checks,
//! and the sums of runners that ended. All of it, or nothing.

use crate::connections::Store;
use crate::error::StoreError;
use crate::{HealthCheck, StoredInstance, events, health, instances, peaks, totals};
use myagent_core::event::Event;
use myagent_core::wire::sums::{Peaks, Sums};
use myagent_core::{InstanceKey, ServiceId};

/// What is to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Saving<'a> {
    /// With their ids, which nothing that is stored has.
    pub events: &'a [Event],
    /// What is known of an instance; none: it is forgotten.
    pub instances: &'a [(InstanceKey, Option<StoredInstance>)],
    /// Those of services that were removed meanwhile are left out.
    pub checks: &'a [HealthCheck],
    /// What runners have counted that are no more.
    pub sums: &'a [(InstanceKey, Sums)],
    /// The most that there was at once, by service; with the nil id of all.
    pub peaks: &'a [(ServiceId, Peaks)],
}

impl Store {
    /// Stores all of it.
    pub fn save(&self, saving: &Saving<'_>) -> Result<(), StoreError> {
        self.write("store what happened", |transaction| {
            events::insert(transaction, saving.events)?;
            for (key, stored) in saving.instances {
                match stored {
                    Some(stored) => instances::put(transaction, stored)?,
                    None => drop(instances::delete(transaction, *key)?),
                }
            }
            for (key, sums) in saving.sums {
                totals::add(transaction, *key, sums)?;
            }
            peaks::put(transaction, saving.peaks)?;
            health::insert(transaction, saving.checks)
        })
    }
}
