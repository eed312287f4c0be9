//! The loads of the instances, one table for all threads, in the order of the snapshot in force.
//!
//! An entry lasts as long as the start of the instance. Connections are counted up here and come down by what runners
//! report, because a conversation's end is not seen at the door: what was not confirmed within a second is forgotten, so
//! that no instance is taken for full by clients that have left.

use myagent_core::clock::Tick;
use myagent_core::routing::{RoutedInstance, RoutingSnapshot, SharedLoad};
use myagent_core::{InstanceKey, StartId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a connection counts that no runner has reported; they report once a second.
const CONFIRM: Duration = Duration::from_secs(1);

/// A snapshot and the loads of its instances.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) snapshot: Arc<RoutingSnapshot>,
    pub(crate) loads: Arc<[Arc<SharedLoad>]>,
}

/// The table.
#[derive(Default)]
pub(crate) struct Table {
    inner: Mutex<Inner>,
    /// When counts are next set to what was reported, nanoseconds.
    settle_at: AtomicU64,
}

#[derive(Default)]
struct Inner {
    current: Option<View>,
    entries: HashMap<(InstanceKey, StartId), Entry>,
}

struct Entry {
    load: Arc<SharedLoad>,
    was_eligible: bool,
    places: u32,
}

impl Table {
    /// The newest snapshot with its loads. `newest` is asked under the lock, so that no thread puts an older snapshot
    /// over a newer one.
    pub(crate) fn catch_up(&self, newest: impl FnOnce() -> Arc<RoutingSnapshot>, now: Tick) -> View {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = newest();
        match &inner.current {
            Some(view) if Arc::ptr_eq(&view.snapshot, &snapshot) => view.clone(),
            _ => inner.rebuild(snapshot, now),
        }
    }

    /// Sets what was opened to what was reported, if it is time to; the runners of `view` have had the time to tell.
    pub(crate) fn settle(&self, view: &View, now: Tick) {
        let (now, due) = (nanos(now), self.settle_at.load(Ordering::Relaxed));
        let next = now.saturating_add(nanos(CONFIRM));
        let is_due = now >= due;
        // One of the threads does it.
        if is_due && self.settle_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            for (instance, load) in view.snapshot.instances().zip(view.loads.iter()) {
                load.set_active(instance.places);
            }
        }
    }
}

fn nanos(tick: Tick) -> u64 {
    u64::try_from(tick.as_nanos()).unwrap_or(u64::MAX)
}

impl Inner {
    fn rebuild(&mut self, snapshot: Arc<RoutingSnapshot>, now: Tick) -> View {
        // What is there from the start has been there for long, as far as we know.
        let new = self.current.is_some().then_some(now);
        let mut before = std::mem::take(&mut self.entries);
        let mut loads = Vec::new();
        for instance in snapshot.instances() {
            let id = (instance.key, instance.start_id);
            let entry = match before.remove(&id) {
                Some(entry) => entry.follow(instance, new),
                None => Entry::new(instance, new),
            };
            loads.push(Arc::clone(&entry.load));
            self.entries.insert(id, entry);
        }
        let view = View { snapshot, loads: loads.into() };
        self.current = Some(view.clone());
        view
    }
}

impl Entry {
    fn new(instance: &RoutedInstance, now: Option<Tick>) -> Self {
        let load = SharedLoad::new(now.filter(|_| instance.eligible));
        load.set_active(instance.places);
        Self { load: Arc::new(load), was_eligible: instance.eligible, places: instance.places }
    }

    fn follow(mut self, instance: &RoutedInstance, now: Option<Tick>) -> Self {
        if instance.eligible && !self.was_eligible {
            // Known while it started; nobody was sent to it before now.
            return Self::new(instance, now);
        }
        if std::mem::replace(&mut self.places, instance.places) != instance.places {
            self.load.set_active(instance.places);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myagent_core::ServiceId;
    use myagent_core::routing::{Loads, RoutedService};
    use std::path::Path;
    use uuid::Uuid;

    const fn at(seconds: u64) -> Tick {
        Duration::from_secs(seconds)
    }

    fn instance(index: u32, start: u128, eligible: bool, places: u32) -> RoutedInstance {
        RoutedInstance {
            key: InstanceKey { service_id: ServiceId(Uuid::nil()), index },
            name: "a".into(),
            start_id: StartId(Uuid::from_u128(start)),
            takeover: Arc::from(Path::new("")),
            upstream: None,
            eligible,
            may_become_eligible: true,
            max_places: 0,
            places,
            weight: 1,
        }
    }

    fn snapshot(instances: Vec<RoutedInstance>) -> Arc<RoutingSnapshot> {
        let service = RoutedService { name: "a".into(), tags: Default::default(), instances };
        Arc::new(RoutingSnapshot::new(vec![service]))
    }

    #[test]
    fn entries_last_as_long_as_the_start_and_new_ones_begin_slowly() {
        let table = Table::default();
        let one = snapshot(vec![instance(0, 1, true, 0), instance(1, 1, false, 0)]);
        let first = table.catch_up(|| Arc::clone(&one), at(100));
        let again = table.catch_up(|| one, at(100));
        assert!(Arc::ptr_eq(&first.loads, &again.loads), "threads share it");
        let warmth = |view: &View, index| view.loads.reading(index, at(200)).warmth;
        assert!((warmth(&first, 0) - 1.0).abs() < 1e-6);
        let next = snapshot(vec![instance(0, 1, true, 0), instance(1, 1, true, 0), instance(2, 1, true, 0)]);
        let next = table.catch_up(|| next, at(200));
        assert!(Arc::ptr_eq(&first.loads[0], &next.loads[0]));
        assert!((warmth(&next, 0) - 1.0).abs() < 1e-6);
        assert!(warmth(&next, 1) < 0.2, "it is ready only now");
        assert!(warmth(&next, 2) < 0.2);
        // Not ready for a moment: the same start. Another start is another load.
        let flap = snapshot(vec![instance(0, 2, true, 0), instance(1, 1, false, 0)]);
        let flap = table.catch_up(|| flap, at(300));
        assert!(!Arc::ptr_eq(&flap.loads[0], &next.loads[0]) && Arc::ptr_eq(&flap.loads[1], &next.loads[1]));
        let back = table.catch_up(|| snapshot(vec![instance(1, 1, true, 0)]), at(400));
        assert!(Arc::ptr_eq(&back.loads[0], &next.loads[1]));
    }

    #[test]
    fn connections_count_until_the_runner_says_otherwise_or_nothing_for_a_second() {
        let table = Table::default();
        let view = table.catch_up(|| snapshot(vec![instance(0, 1, true, 2)]), at(10));
        let active = |view: &View| view.loads.reading(0, at(10)).active;
        assert_eq!(active(&view), 2);
        table.settle(&view, at(10));
        view.loads[0].opened();
        let same = table.catch_up(|| snapshot(vec![instance(0, 1, true, 2)]), at(10));
        table.settle(&same, at(10));
        assert_eq!(active(&same), 3, "a snapshot that is new for other reasons says nothing of it");
        let told = table.catch_up(|| snapshot(vec![instance(0, 1, true, 5)]), at(10));
        assert_eq!(active(&told), 5);
        told.loads[0].opened();
        table.settle(&told, at(11));
        assert_eq!(active(&told), 5);
    }
}
