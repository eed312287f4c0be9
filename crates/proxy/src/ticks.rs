//! Counts the decisions per pool, so that round robin is exact over all threads.
//!
//! The counters are atomics shared through a small locked registry; each thread remembers those it has seen, so that the
//! lock is taken once per pool and thread.

use myagent_core::routing::{self, PoolId, RoutingSnapshot};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

type Counters = HashMap<PoolId, Arc<AtomicU64>>;

/// The counters of all threads. Their number is bounded by services and rules, whatever clients send.
#[derive(Default)]
pub(crate) struct Registry {
    counters: Mutex<Counters>,
}

/// What one thread remembers of the registry.
#[derive(Default)]
pub(crate) struct Ticks {
    known: RefCell<Counters>,
}

/// Counts each choice.
pub(crate) struct Counting<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) ticks: &'a Ticks,
}

/// Looks without counting.
pub(crate) struct Peeking<'a>(pub(crate) Counting<'a>);

impl Counting<'_> {
    fn with<T>(&self, pool: PoolId, read: impl FnOnce(&AtomicU64) -> T) -> T {
        if let Some(counter) = self.ticks.known.borrow().get(&pool) {
            return read(counter);
        }
        let mut counters = self.registry.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = Arc::clone(counters.entry(pool).or_default());
        drop(counters);
        let result = read(&counter);
        self.ticks.known.borrow_mut().insert(pool, counter);
        result
    }
}

impl routing::Ticks for Counting<'_> {
    fn next(&self, pool: PoolId) -> u64 {
        self.with(pool, |counter| counter.fetch_add(1, Ordering::Relaxed))
    }
}

impl routing::Ticks for Peeking<'_> {
    fn next(&self, pool: PoolId) -> u64 {
        self.0.with(pool, |counter| counter.load(Ordering::Relaxed))
    }
}

impl Ticks {
    /// Forgets the pools of services and rules that are gone.
    pub(crate) fn forget(&self, registry: &Registry, snapshot: &RoutingSnapshot) {
        let mut known = self.known.borrow_mut();
        if known.is_empty() {
            return;
        }
        let instances = snapshot.services().iter().filter_map(|service| service.instances.first());
        let services: HashSet<_> = instances.map(|instance| instance.key.service_id).collect();
        let rules: HashSet<_> = snapshot.rules().map(|rule| rule.rule().rule_id).collect();
        let is_there = |pool: &PoolId| match pool {
            PoolId::All | PoolId::Tags(_) => true,
            PoolId::Service(id) => services.contains(id),
            PoolId::Rule(id, _) => rules.contains(id),
        };
        let before = known.len();
        known.retain(|pool, _| is_there(pool));
        if known.len() < before {
            let mut counters = registry.counters.lock().unwrap_or_else(PoisonError::into_inner);
            counters.retain(|pool, _| is_there(pool));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myagent_core::ServiceId;
    use myagent_core::routing::Ticks as _;
    use uuid::Uuid;

    #[test]
    fn two_threads_count_one_pool_together() {
        let registry = Registry::default();
        let threads = [Ticks::default(), Ticks::default()];
        let [one, two] = threads.each_ref().map(|ticks| Counting { registry: &registry, ticks });
        let pool = PoolId::Service(ServiceId(Uuid::nil()));
        let ticks: Vec<_> = [&one, &two, &two, &one].iter().map(|counting| counting.next(pool)).collect();
        assert_eq!(ticks, [0, 1, 2, 3]);
        assert_eq!((one.next(PoolId::All), two.next(PoolId::All)), (0, 1));
        let peeking = Peeking(Counting { registry: &registry, ticks: &threads[0] });
        assert_eq!((peeking.next(pool), peeking.next(pool), two.next(pool)), (4, 4, 4));
        threads[0].forget(&registry, &RoutingSnapshot::default());
        assert_eq!(registry.counters.lock().unwrap().keys().collect::<Vec<_>>(), [&PoolId::All]);
        assert_eq!(one.next(pool), 0);
    }
}
