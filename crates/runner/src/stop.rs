//! The end: clients are told, every process gets TERM, then after the grace KILL until nothing is left, and only then is
//! the stop answered and this process over.

use crate::control::ClientId;
use crate::event::Event;
use crate::runner::{OUTPUT_PATIENCE, Runner};
use crate::tree::{KILL_PATIENCE, Tree};
use myagent_core::config::ServiceConfig;
use myagent_core::drain::COME_BACK;
use myagent_core::wire::control::{Answer, Phase};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// Close code and reason of the clients of a service that is stopped.
const CLOSE: (u16, &str) = (1001, "service stopped");
/// How long the clients may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// Between two clients that are told, at least: they come back one after the other, too. But not more than half of the grace for
/// all of them.
const PACE: Duration = Duration::from_millis(5);

/// How to stop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    /// Seconds between TERM and KILL; none: those of the service.
    pub(crate) grace: Option<f64>,
    /// Seconds over which clients are told, at least as many as our own call for.
    pub(crate) spread: Option<f64>,
    /// They had better come back.
    pub(crate) again: bool,
}

/// A stop under way.
#[derive(Debug)]
pub(crate) struct Stop {
    /// Who waits for it.
    waiting: Vec<(ClientId, u64)>,
    /// When TERM turns into KILL; another stop may bring it forward.
    kill_at: Rc<Cell<Instant>>,
}

impl Runner {
    /// A manager asks for a stop.
    pub(crate) fn stop_for(&mut self, client: ClientId, id: u64, how: How) {
        if let Phase::Exited { survivors, .. } = &self.phase {
            let answer = Answer::Stopped { exit: self.last_exit.clone(), survivors: survivors.clone() };
            self.clients.answer(client, id, answer);
            self.finished = true;
            return;
        }
        self.begin_stop(how);
        if let Some(stop) = &mut self.stop {
            stop.waiting.push((client, id));
        }
    }

    /// TERM or INT came: stop; a second one: at once.
    pub(crate) fn terminate(&mut self) {
        if matches!(self.phase, Phase::Exited { .. }) {
            self.finished = true;
        } else {
            let grace = self.stop.is_some().then_some(0.0);
            self.begin_stop(How { grace, ..How::default() });
        }
    }

    fn begin_stop(&mut self, how: How) {
        let grace = ServiceConfig::seconds(how.grace.unwrap_or(self.spec.config.stop_grace).max(0.0));
        // Bounded, so that the sum of times cannot overflow.
        let grace = grace.min(Duration::from_hours(24));
        let kill_at = Instant::now() + grace;
        if let Some(stop) = &self.stop {
            stop.kill_at.set(stop.kill_at.get().min(kill_at));
            return;
        }
        let kill_at = Rc::new(Cell::new(kill_at));
        self.stop = Some(Stop { waiting: Vec::new(), kill_at: Rc::clone(&kill_at) });
        self.draining.set(true);
        self.table.set_draining(true);
        self.enter(Phase::Stopping);
        let backend = self.backend.take();
        let (code, reason) = if how.again { COME_BACK } else { CLOSE };
        let spread = how.spread.map_or(Duration::ZERO, ServiceConfig::seconds);
        let spread = spread.max(PACE * self.table.open_count()).min(grace / 2);
        let (table, logs, tree, events) =
            (self.table.clone(), Rc::clone(&self.logs), self.tree.clone(), self.events.clone());
        self.tasks.spawn_local(async move {
            let goodbye = async {
                backend.stop(code, reason, spread).await;
                let began = Instant::now();
                let ids = table.open_ids();
                let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                for (index, id) in (0..).zip(ids) {
                    tokio::time::sleep_until(began + spread * index / count).await;
                    table.disconnect(id, code, reason);
                }
                table.close_all(code, reason);
                while table.open_count() > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            // The goodbye's time is part of the grace: an impatient stop does not wait for slow clients.
            let until = (Instant::now() + spread + GOODBYE).min(kill_at.get());
            let _ = tokio::time::timeout_at(until, goodbye).await;
            let survivors = match &tree {
                Some(tree) => end_tree(tree, &kill_at).await,
                None => Vec::new(),
            };
            logs.drained(OUTPUT_PATIENCE).await;
            let _ = events.send(Event::Stopped { survivors }).await;
        });
    }

    /// The stop is complete: tells those who wait, and ends.
    pub(crate) fn stopped(&mut self, survivors: &[u32]) {
        let Some(stop) = self.stop.take() else { return };
        // The last there is to say of connections and turns that the stop has ended: before the answer, which ends it.
        self.tell_report();
        for (client, id) in stop.waiting {
            let answer = Answer::Stopped { exit: self.last_exit.clone(), survivors: survivors.to_vec() };
            self.clients.answer(client, id, answer);
        }
        self.finished = true;
    }
}

async fn end_tree(tree: &Tree, kill_at: &Cell<Instant>) -> Vec<u32> {
    tree.terminate();
    tree.gone_before(|| kill_at.get()).await;
    let survivors = tree.kill(KILL_PATIENCE).await;
    tree.finish(&survivors).await;
    survivors
}
