//! The clients of one thread whose sockets are here: between accept and hand-over, or until they have read why not.
//!
//! Their number is bounded. When it is reached, the one that has been slow for the longest is sent away: who has not
//! finished its request head, or lingers after its answer, keeps nobody else out. The others, who wait for an instance, are
//! bounded by the queue.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::{Rc, Weak};
use tokio::sync::Notify;

/// All of them.
pub(crate) struct Crowd {
    most: usize,
    here: Cell<usize>,
    /// Somebody left.
    left: Notify,
    /// Those who are slow now, the oldest first; and some who are not any more.
    slow: RefCell<VecDeque<Weak<Notify>>>,
}

/// A client's presence; it ends when this is dropped.
pub(crate) struct Seat {
    crowd: Rc<Crowd>,
}

impl Crowd {
    pub(crate) fn new(most: usize) -> Rc<Self> {
        Rc::new(Self { most: most.max(1), here: Cell::new(0), left: Notify::new(), slow: RefCell::default() })
    }

    /// How many there may be.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Comes in.
    pub(crate) fn seat(self: &Rc<Self>) -> Seat {
        self.here.set(self.here.get() + 1);
        Seat { crowd: Rc::clone(self) }
    }

    /// Waits until there is room for one more, and makes it.
    pub(crate) async fn room(&self) {
        while self.here.get() >= self.most {
            self.send_slowest_away();
            self.left.notified().await;
        }
    }

    fn send_slowest_away(&self) {
        while let Some(slowest) = self.slow.borrow_mut().pop_front() {
            if let Some(slowest) = slowest.upgrade() {
                slowest.notify_one();
                return;
            }
        }
    }

    /// Does something that depends on the client's pace; none: it took too long while others came.
    pub(crate) async fn at_own_pace<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let sent_away = Rc::new(Notify::new());
        {
            let mut slow = self.slow.borrow_mut();
            // Those who are done are forgotten before the list grows for nothing.
            if slow.len() >= 2 * self.most {
                slow.retain(|client| client.strong_count() > 0);
            }
            slow.push_back(Rc::downgrade(&sent_away));
        }
        let done = tokio::select! {
            biased;
            done = work => Some(done),
            () = sent_away.notified() => None,
        };
        drop(sent_away);
        self.forget_first();
        done
    }

    /// Forgets the oldest of the slow ones as far as they are done. After a flood none is left: each would hold a few bytes between
    /// those of its task, and the memory of all of them could not be given back.
    fn forget_first(&self) {
        let mut slow = self.slow.borrow_mut();
        while slow.front().is_some_and(|client| client.strong_count() == 0) {
            slow.pop_front();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.here.set(self.crowd.here.get() - 1);
        self.crowd.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::future::pending;
    use std::pin::pin;
    use std::time::Duration;
    use tokio::task::{LocalSet, spawn_local};
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn the_slowest_goes_when_there_is_no_room() {
        LocalSet::new()
            .run_until(async {
                let crowd = Crowd::new(2);
                let slow = |crowd: &Rc<Crowd>| {
                    let (crowd, seat) = (Rc::clone(crowd), crowd.seat());
                    spawn_local(async move {
                        let result = crowd.at_own_pace(pending::<()>()).await;
                        drop(seat);
                        result
                    })
                };
                assert_eq!(crowd.at_own_pace(async { 1 }).await, Some(1));
                let first = slow(&crowd);
                crowd.room().await;
                let second = slow(&crowd);
                tokio::task::yield_now().await;
                assert!(!first.is_finished());
                crowd.room().await;
                assert_eq!(first.await.unwrap(), None);
                assert!(!second.is_finished());
                // Nobody who can be sent away: then one has to wait.
                second.abort();
                second.await.unwrap_err();
                let seats = [crowd.seat(), crowd.seat()];
                assert!(timeout(Duration::from_hours(1), crowd.room()).await.is_err());
                drop(seats);
                crowd.room().await;
            })
            .await;
    }

    #[tokio::test]
    async fn those_who_are_done_do_not_pile_up() {
        let crowd = Crowd::new(2);
        for _ in 0..100 {
            crowd.at_own_pace(async {}).await;
        }
        assert!(crowd.slow.borrow().is_empty());
    }

    #[tokio::test]
    async fn those_behind_a_slow_one_do_not_pile_up_either() {
        let crowd = Crowd::new(2);
        let mut slow = pin!(crowd.at_own_pace(pending::<()>()));
        assert!(slow.as_mut().now_or_never().is_none());
        for _ in 0..100 {
            crowd.at_own_pace(async {}).await;
        }
        let left = crowd.slow.borrow().len();
        assert!((1..=4).contains(&left), "{left}");
    }
}
