//! Clients are to leave within a time: those of an agent file go to other runners of the service (the host sees to that),
//! those behind a relay finish, or are closed in a quiet moment, a few at a time.

use crate::backend::Backend;
use crate::control::ClientId;
use crate::event::Event;
use crate::runner::Runner;
use myagent_core::config::ServiceConfig;
use myagent_core::drain::{COME_BACK, FAREWELL, farewell_pace, pace};
use myagent_core::wire::control::{Answer, Drained};
use myagent_relay::table::Table;
use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Where nobody waits for an answer and nothing was said for so long, a conversation rests.
const QUIET: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Between two looks whether all have ended, once all were told.
const LAST_LOOK: Duration = Duration::from_millis(5);

/// How far that is.
#[derive(Debug, Default)]
pub(crate) enum Leaving {
    /// Nobody was asked to.
    #[default]
    No,
    /// They are leaving; who waits for that.
    Now(Vec<(ClientId, u64)>),
    /// They have.
    Done(Drained),
}

impl Runner {
    /// Has the clients leave within so many seconds; answered when they have. Whoever asks meanwhile waits for the same.
    pub(crate) fn let_leave(&mut self, client: ClientId, id: u64, window: f64) {
        self.set_draining(true);
        match &mut self.leaving {
            Leaving::Done(drained) => {
                let answer = Answer::Drained(*drained);
                self.clients.answer(client, id, answer);
            }
            Leaving::Now(waiting) => waiting.push((client, id)),
            Leaving::No => {
                self.leaving = Leaving::Now(vec![(client, id)]);
                let window = ServiceConfig::seconds(window.max(0.0));
                let (backend, table) = (self.backend.borrow().clone(), self.table.clone());
                let (draining, events) = (Rc::clone(&self.draining), self.events.clone());
                self.tasks.spawn_local(async move {
                    let drained = match backend {
                        Backend::Host(host, _) => host.drain(window).await,
                        Backend::Relay(_) | Backend::None => relayed(&table, window, &draining).await,
                    };
                    let _ = events.send(Event::Drained(drained)).await;
                });
            }
        }
    }

    /// They have left, or need not any more.
    pub(crate) fn drained(&mut self, drained: Drained) {
        let leaving = if self.draining.get() { Leaving::Done(drained) } else { Leaving::No };
        let Leaving::Now(waiting) = std::mem::replace(&mut self.leaving, leaving) else { return };
        // What the manager knows of connections by then is what it keeps.
        self.tell_report();
        for (client, id) in waiting {
            self.clients.answer(client, id, Answer::Drained(drained));
        }
    }

    /// Takes no more clients, or takes them again, and those that are here stay.
    pub(crate) fn set_draining(&mut self, draining: bool) {
        // A stop cannot be taken back.
        let draining = draining || self.stop.is_some();
        if self.draining.replace(draining) != draining {
            self.table.set_draining(draining);
            self.tell_status();
        }
        if !draining {
            if let Backend::Host(host, _) = &*self.backend.borrow() {
                host.undrain();
            }
            if matches!(self.leaving, Leaving::Done(_)) {
                self.leaving = Leaving::No;
            }
        }
    }
}

/// Closes the connections of a relay, which cannot move. Ends when none is left, or when they need not leave any more.
async fn relayed(table: &Table, window: Duration, draining: &Cell<bool>) -> Drained {
    let deadline = Instant::now() + window;
    let mut told = HashSet::new();
    while table.open_count() > 0 && draining.get() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let next = table.quiet_ids(QUIET).into_iter().find(|id| !told.contains(id));
        let Some(id) = next else {
            sleep(LOOK.min(left)).await;
            continue;
        };
        told.insert(id);
        table.disconnect(id, COME_BACK.0, COME_BACK.1);
        sleep(pace(left, table.open_count())).await;
    }
    if draining.get() {
        let rest: Vec<_> = table.open_ids().into_iter().filter(|id| !told.contains(id)).collect();
        let pace = farewell_pace(rest.len());
        for id in rest {
            told.insert(id);
            table.disconnect(id, COME_BACK.0, COME_BACK.1);
            sleep(pace).await;
        }
        let gone = async {
            while table.open_count() > 0 {
                sleep(LAST_LOOK).await;
            }
        };
        // Whoever does not end is cut off with the runner.
        let _ = timeout(FAREWELL, gone).await;
    }
    Drained { closed: u32::try_from(told.len()).unwrap_or(u32::MAX), ..Drained::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myagent_core::drain::PACE;
    use myagent_core::{Clock, ConnectionId};
    use myagent_relay::table::Entry;
    use std::sync::Arc;

    struct NoClock;

    impl Clock for NoClock {
        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }
    }

    fn table() -> Table {
        Table::new(Arc::new(NoClock), Duration::from_mins(1), 0)
    }

    fn open(table: &Table, number: u128) -> Entry {
        table.open_direct(
            ConnectionId(uuid::Uuid::from_u128(number)),
            "192.0.2.7:5000".parse().unwrap(),
            None,
        )
    }

    /// A conversation that ends as soon as it is asked to; when that was.
    async fn ends(entry: Entry) -> (Instant, u16) {
        let (code, reason) = entry.disconnected().await;
        entry.close(code, &reason);
        (Instant::now(), code)
    }

    #[tokio::test(start_paused = true)]
    async fn what_rests_is_closed_soon_and_one_after_the_other() {
        let (table, draining) = (table(), Cell::new(true));
        let began = Instant::now();
        let entries: Vec<_> = (0..40).map(|number| open(&table, number)).collect();
        let all = futures_util::future::join_all(entries.into_iter().map(ends));
        let (drained, all) = tokio::join!(relayed(&table, Duration::from_mins(5), &draining), all);
        assert_eq!(drained, Drained { closed: 40, ..Drained::default() });
        assert!(all.iter().all(|(_, code)| *code == 1012));
        assert_eq!(all.iter().map(|(at, _)| *at).max().unwrap() - began, 39 * PACE);
        assert_eq!(all.iter().map(|(at, _)| *at).collect::<HashSet<_>>().len(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_an_answer_has_the_window() {
        let (table, draining) = (table(), Cell::new(true));
        let began = Instant::now();
        let (waits, talks, finishes) = (open(&table, 1), open(&table, 2), open(&table, 3));
        waits.message_in(1);
        finishes.message_in(1);
        talks.message_out(1);
        table.tick();
        let drain = relayed(&table, Duration::from_mins(1), &draining);
        let finish = async {
            sleep(Duration::from_secs(20)).await;
            finishes.close(1000, "done");
        };
        let (drained, waited, talked, ()) = tokio::join!(drain, ends(waits), ends(talks), finish);
        assert_eq!(drained.closed, 2);
        assert_eq!(waited.0 - began, Duration::from_mins(1));
        assert!(talked.0 - began >= QUIET && talked.0 - began <= QUIET + 2 * LOOK);
    }

    #[tokio::test(start_paused = true)]
    async fn who_need_not_leave_any_more_stays() {
        let table = table();
        let one = open(&table, 1);
        one.message_in(1);
        let draining = Cell::new(true);
        let take_back = async {
            sleep(Duration::from_secs(1)).await;
            draining.set(false);
        };
        let (drained, ()) = tokio::join!(relayed(&table, Duration::from_mins(1), &draining), take_back);
        assert_eq!((drained, one.is_leaving()), (Drained::default(), false));
    }
}
