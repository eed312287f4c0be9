//! The clients that wait until an instance can take them: first come, first served, per pool, over all threads.
//!
//! Only the first of a pool tries to get an instance; when it leaves, served or not, the next one's turn comes. Nothing
//! here decides when trying makes sense or how long a client waits (`client` does).

use crate::counters::BOUNDS;
use myagent_core::routing::PoolId;
use myagent_core::spread::{SharedSpread, Spread};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The queue of the whole proxy.
pub(crate) struct Queue {
    size: usize,
    /// Clients in `pools`; readable without the lock, because every client asks.
    waiting: AtomicUsize,
    pools: Mutex<Pools>,
    /// How long those waited who have left.
    waits: SharedSpread<{ BOUNDS.len() }>,
}

#[derive(Default)]
struct Pools {
    next_ticket: u64,
    by_pool: HashMap<PoolId, VecDeque<Waiter>>,
}

struct Waiter {
    ticket: u64,
    turn: Arc<Notify>,
}

/// A place in the queue; dropping it leaves.
pub(crate) struct Place {
    queue: Arc<Queue>,
    pool: PoolId,
    ticket: u64,
    turn: Arc<Notify>,
    since: Instant,
}

impl Queue {
    pub(crate) fn new(size: u32) -> Self {
        let waits = SharedSpread::new(&BOUNDS);
        Self { size: size as usize, waiting: AtomicUsize::new(0), pools: Mutex::default(), waits }
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How long clients have waited.
    pub(crate) fn waits(&self) -> Spread {
        self.waits.read()
    }

    /// Whether somebody waits for this pool, so that a newcomer must not overtake.
    pub(crate) fn has_waiting(&self, pool: PoolId) -> bool {
        self.waiting() > 0 && self.pools().by_pool.contains_key(&pool)
    }

    /// Joins at the end; none if the queue is full.
    pub(crate) fn join(self: &Arc<Self>, pool: PoolId) -> Option<Place> {
        let turn = Arc::new(Notify::new());
        let mut pools = self.pools();
        if self.waiting() >= self.size {
            return None;
        }
        let ticket = pools.next_ticket;
        pools.next_ticket += 1;
        let waiter = Waiter { ticket, turn: Arc::clone(&turn) };
        pools.by_pool.entry(pool).or_default().push_back(waiter);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        drop(pools);
        Some(Place { queue: Arc::clone(self), pool, ticket, turn, since: Instant::now() })
    }
}

impl Place {
    /// Whether nobody of this pool came earlier.
    pub(crate) fn is_first(&self) -> bool {
        let pools = self.queue.pools();
        let first = pools.by_pool.get(&self.pool).and_then(VecDeque::front);
        first.is_some_and(|first| first.ticket == self.ticket)
    }

    /// Waits until this place has become the first. Not said for a place that was the first from the start.
    pub(crate) async fn turn(&self) {
        self.turn.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.waits.record(self.since.elapsed());
        let mut pools = self.queue.pools();
        let Some(waiters) = pools.by_pool.get_mut(&self.pool) else { return };
        let Some(index) = waiters.iter().position(|waiter| waiter.ticket == self.ticket) else { return };
        waiters.remove(index);
        self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
        match waiters.front() {
            Some(next) if index == 0 => next.turn.notify_one(),
            Some(_) => {}
            None => {
                pools.by_pool.remove(&self.pool);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myagent_core::ServiceId;
    use uuid::Uuid;

    #[tokio::test]
    async fn first_come_first_served_within_a_pool() {
        let queue = Arc::new(Queue::new(4));
        let [a, b] = [1, 2].map(|id| PoolId::Service(ServiceId(Uuid::from_u128(id))));
        let first = queue.join(a).unwrap();
        let second = queue.join(a).unwrap();
        let third = queue.join(a).unwrap();
        let other = queue.join(PoolId::All).unwrap();
        assert!(queue.join(b).is_none(), "the size counts all pools together");
        assert_eq!(
            [first.is_first(), second.is_first(), third.is_first(), other.is_first()],
            [true, false, false, true]
        );
        drop(second);
        assert!(!third.is_first());
        drop(first);
        third.turn().await;
        assert!(third.is_first());
        assert!(queue.has_waiting(a) && queue.has_waiting(PoolId::All) && !queue.has_waiting(b));
        drop(third);
        assert!(!queue.has_waiting(a));
        drop(other);
        assert_eq!(queue.waiting(), 0);
        assert!(queue.pools().by_pool.is_empty());
    }
}
