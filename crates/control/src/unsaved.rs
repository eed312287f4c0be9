//! What is to be stored although nobody waits for it: events, what is known of instances, health checks, sums of runners that
//! ended. It is stored together, once for each turn of the engine. If the disk is full or another process holds the database,
//! it waits here, within bounds, and is tried again each second; the fleet and those who look at it go on.

use crate::engine::Engine;
use crate::publish::FLEET;
use myagent_core::event::Event;
use myagent_core::wire::sums::Sums;
use myagent_core::{InstanceKey, ServiceId};
use myagent_store::{HealthCheck, Saving};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Most events that wait; the oldest go first, and are counted.
pub(crate) const MAX_EVENTS: usize = 10_000;
/// Most health checks that wait.
const MAX_CHECKS: usize = 10_000;
/// Between two tries.
const RETRY: Duration = Duration::from_secs(1);

/// Events that are not stored yet, the oldest first. Followers read them, too.
#[derive(Clone, Default)]
pub(crate) struct Pending(Arc<Mutex<VecDeque<Event>>>);

impl Pending {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those after `id`.
    pub(crate) fn after(&self, id: i64) -> Vec<Event> {
        self.lock().iter().filter(|event| event.id > id).cloned().collect()
    }
}

/// All that waits.
#[derive(Default)]
pub(crate) struct Unsaved {
    pub(crate) events: Pending,
    /// Instances of which something else is stored than is known.
    pub(crate) instances: BTreeSet<InstanceKey>,
    checks: Vec<HealthCheck>,
    pub(crate) sums: BTreeMap<InstanceKey, Sums>,
    /// Services, and the fleet, that had more at once than ever.
    pub(crate) peaks: BTreeSet<ServiceId>,
    /// The highest id that an event has.
    last_event: i64,
    failing: Option<Failing>,
}

/// Nothing can be stored.
struct Failing {
    since: Instant,
    retry_at: Instant,
    /// Events that did not fit.
    lost: u64,
}

impl Unsaved {
    /// The beginning; `last_event` is the highest id that an event ever had.
    pub(crate) fn after(last_event: i64) -> Self {
        Self { last_event, ..Self::default() }
    }

    /// Gives an event its id.
    pub(crate) fn next_id(&mut self) -> i64 {
        self.last_event += 1;
        self.last_event
    }

    pub(crate) fn push(&mut self, event: Event) {
        let mut events = self.events.lock();
        events.push_back(event);
        if events.len() > MAX_EVENTS {
            events.pop_front();
            if let Some(failing) = &mut self.failing {
                failing.lost += 1;
            }
        }
    }

    pub(crate) fn check(&mut self, check: HealthCheck) {
        if self.checks.len() < MAX_CHECKS {
            self.checks.push(check);
        }
    }

    /// When it is to be tried again; none: nothing has failed.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.failing.as_ref().map(|failing| failing.retry_at)
    }

    /// Whether it is worth a transaction: checks wait for a sweep, or for something else to be stored.
    fn is_due(&self, sweep: bool) -> bool {
        if let Some(retry_at) = self.retry_at() {
            return Instant::now() >= retry_at;
        }
        let has_something =
            !self.events.lock().is_empty() || !self.instances.is_empty() || !self.sums.is_empty();
        has_something || (sweep && !(self.checks.is_empty() && self.peaks.is_empty()))
    }
}

impl Engine {
    /// Stores what waits. `sweep`: also what has time.
    pub(crate) fn save(&mut self, sweep: bool) {
        if let Some(why) = self.store.write_problem() {
            // Found out by a change that was refused.
            self.failing(why);
        }
        if !self.unsaved.is_due(sweep) {
            return;
        }
        self.unsaved.checks.retain(|check| self.fleet.services.contains_key(&check.service_id));
        let events: Vec<Event> = self.unsaved.events.lock().iter().cloned().collect();
        let instances: Vec<_> = self
            .unsaved
            .instances
            .iter()
            .map(|key| (*key, self.fleet.slot(*key).and_then(|slot| slot.stored.clone())))
            .collect();
        let sums: Vec<_> = self.unsaved.sums.iter().map(|(key, sums)| (*key, sums.clone())).collect();
        let peak = |id: &ServiceId| match self.fleet.services.get(id) {
            Some(entry) => Some((*id, entry.peak)),
            None => (*id == FLEET).then_some((FLEET, self.fleet.peak)),
        };
        let peaks: Vec<_> = self.unsaved.peaks.iter().filter_map(peak).collect();
        let checks = &self.unsaved.checks;
        let saving = Saving { events: &events, instances: &instances, checks, sums: &sums, peaks: &peaks };
        match self.store.save(&saving) {
            Ok(()) => self.saved(&events),
            Err(error) => {
                if let Some(failing) = &mut self.unsaved.failing {
                    failing.retry_at = Instant::now() + RETRY;
                }
                self.failing(error.problem().detail);
            }
        }
    }

    fn saved(&mut self, events: &[Event]) {
        // Nothing was pushed meanwhile: there is one engine.
        self.unsaved.events.lock().drain(..events.len());
        self.unsaved.instances.clear();
        self.unsaved.checks.clear();
        self.unsaved.sums.clear();
        self.unsaved.peaks.clear();
        if let Some(Failing { since, lost, .. }) = self.unsaved.failing.take() {
            self.storage_problem.send_replace(None);
            let lost =
                if lost == 0 { String::new() } else { format!("; {lost} events did not fit and are lost") };
            let why =
                format!("after {} s, with what was held back meanwhile{lost}", since.elapsed().as_secs());
            self.record("manager", "storage.recovered", None, None, why);
            self.save(false);
        }
    }

    fn failing(&mut self, why: String) {
        if self.unsaved.failing.is_some() {
            return;
        }
        let now = Instant::now();
        self.unsaved.failing = Some(Failing { since: now, retry_at: now + RETRY, lost: 0 });
        tracing::error!(
            why,
            "nothing can be stored; the fleet goes on, changes are refused, and it is tried again"
        );
        self.storage_problem.send_replace(Some(why.clone()));
        self.record("manager", "storage.failed", None, None, why);
    }
}
