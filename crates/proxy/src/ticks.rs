//! Counts the decisions per pool, so that round robin is exact over all threads.
//!
//! The counters are atomics shared through a small locked registry; each thread remembers those it has seen, so that the
//! lock is taken once per pool and thread.

use myagent_core::routing::RoutingSnapshot;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

type Counters = HashMap<Box<str>, Arc<AtomicU64>>;

/// The counters of all threads, by service; and the one of the pool of all services.
#[derive(Default)]
pub(crate) struct Registry {
    all: Arc<AtomicU64>,
    by_service: Mutex<Counters>,
}

impl Registry {
    fn counter(&self, service: &str) -> Arc<AtomicU64> {
        let mut counters = self.by_service.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.get(service) {
            return Arc::clone(counter);
        }
        Arc::clone(counters.entry(service.into()).or_default())
    }

    fn forget(&self, snapshot: &RoutingSnapshot) {
        let mut counters = self.by_service.lock().unwrap_or_else(PoisonError::into_inner);
        counters.retain(|name, _| snapshot.service(name).is_some());
    }
}

/// What one thread remembers of the registry.
#[derive(Default)]
pub(crate) struct Ticks {
    known: RefCell<Counters>,
}

impl Ticks {
    /// The number of decisions made so far for this pool. Only for a service that is in the snapshot: a client must not be
    /// able to fill the registry with names.
    pub(crate) fn next(&self, registry: &Registry, service: Option<&str>) -> u64 {
        let Some(service) = service else { return registry.all.fetch_add(1, Ordering::Relaxed) };
        if let Some(counter) = self.known.borrow().get(service) {
            return counter.fetch_add(1, Ordering::Relaxed);
        }
        let counter = registry.counter(service);
        let tick = counter.fetch_add(1, Ordering::Relaxed);
        self.known.borrow_mut().insert(service.into(), counter);
        tick
    }

    /// Forgets the services that are gone.
    pub(crate) fn forget(&self, registry: &Registry, snapshot: &RoutingSnapshot) {
        let before = self.known.borrow().len();
        self.known.borrow_mut().retain(|name, _| snapshot.service(name).is_some());
        if self.known.borrow().len() < before {
            registry.forget(snapshot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_count_one_pool_together() {
        let registry = Registry::default();
        let (one, two) = (Ticks::default(), Ticks::default());
        let ticks: Vec<_> = [&one, &two, &two, &one].iter().map(|t| t.next(&registry, Some("a"))).collect();
        assert_eq!(ticks, [0, 1, 2, 3]);
        assert_eq!(one.next(&registry, None), 0);
        assert_eq!(two.next(&registry, None), 1);
        one.forget(&registry, &RoutingSnapshot::default());
        assert!(registry.by_service.lock().unwrap().is_empty());
        assert_eq!(one.next(&registry, Some("a")), 0);
    }
}
