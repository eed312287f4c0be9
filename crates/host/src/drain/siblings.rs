//! The other instances of the service: who lives, who would take a client, and who has fewest.
//!
//! They answer for themselves. A question to each client costs a round trip on this machine, and its answer is right: who is
//! full, drained or without a worker says so.

use crate::neighbour::{self, Willing};
use myagent_core::StartId;
use myagent_journal::{Journal, Sibling};
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// How often it is looked who lives.
const LOOK: Duration = Duration::from_secs(1);
/// One that has refused is asked again after this.
const REFUSED: Duration = Duration::from_millis(500);
/// One that was silent, or has failed, after this.
const SILENT: Duration = Duration::from_secs(5);

/// Those that live.
#[derive(Default)]
pub(super) struct Siblings {
    known: RefCell<Vec<Known>>,
    looked: Cell<Option<Instant>>,
}

struct Known {
    sibling: Sibling,
    /// Places in use there when it was last heard; none: it has never been asked.
    places: Option<u32>,
    /// Not to be asked before this.
    not_before: Option<Instant>,
}

impl Siblings {
    /// Looks who lives, if it is time. Those that were not there before are to be asked first ([`Siblings::meet`]).
    pub(super) fn refresh(&self, journal: &Journal) -> Vec<Sibling> {
        let now = Instant::now();
        if self.looked.get().is_some_and(|looked| now < looked + LOOK) {
            return Vec::new();
        }
        self.looked.set(Some(now));
        let mut known = self.known.borrow_mut();
        let mut before = std::mem::take(&mut *known);
        let mut new = Vec::new();
        known.extend(journal.siblings().into_iter().map(|sibling| {
            let same = before.iter().position(|one| one.sibling == sibling);
            if let Some(at) = same {
                return before.swap_remove(at);
            }
            new.push(sibling.clone());
            Known { sibling, places: None, not_before: None }
        }));
        new
    }

    /// Asks one for the first time how many it has.
    pub(super) async fn meet(&self, sibling: &Sibling) {
        if let Some(willing) = self.question(sibling, Uuid::nil()).await {
            // It comes with a place that is kept for us, and goes back at once.
            self.note(sibling, |known| known.places = willing.places.map(|places| places.saturating_sub(1)));
        }
    }

    /// At least one has been asked.
    pub(super) fn is_met(&self) -> bool {
        self.known.borrow().iter().any(|known| known.places.is_some() || known.not_before.is_some())
    }

    /// Nobody lives.
    pub(super) fn is_empty(&self) -> bool {
        self.known.borrow().is_empty()
    }

    /// The one with fewest places in use that would take a client with this session, of those that were not tried; none: nobody
    /// would.
    pub(super) async fn ask(&self, session: Uuid, tried: &mut Vec<StartId>) -> Option<(Sibling, Willing)> {
        loop {
            let sibling = self.next(tried)?;
            tried.push(sibling.start_id);
            if let Some(willing) = self.question(&sibling, session).await {
                self.note(&sibling, |known| known.places = willing.places.or(known.places));
                return Some((sibling, willing));
            }
        }
    }

    /// Would it take a client with this session?
    async fn question(&self, sibling: &Sibling, session: Uuid) -> Option<Willing> {
        match neighbour::ask(&sibling.takeover, session, true).await {
            Ok(Ok(willing)) => Some(willing),
            Ok(Err((reason, detail))) => {
                tracing::debug!(instance = sibling.instance, ?reason, detail, "takes no client");
                self.note(sibling, |known| known.not_before = Some(Instant::now() + REFUSED));
                None
            }
            Err(error) => {
                tracing::warn!(instance = sibling.instance, %error, "does not say whether it takes a client");
                self.failed(sibling);
                None
            }
        }
    }

    /// It was willing, and has not taken the client.
    pub(super) fn failed(&self, sibling: &Sibling) {
        self.note(sibling, |known| known.not_before = Some(Instant::now() + SILENT));
    }

    fn note(&self, sibling: &Sibling, note: impl FnOnce(&mut Known)) {
        if let Some(known) = self.known.borrow_mut().iter_mut().find(|known| known.sibling == *sibling) {
            note(known);
        }
    }

    /// Whom to ask: the one with fewest; those of whom nothing is known last. It counts as one more until it is heard again, so
    /// that those who ask at the same time do not all ask the same.
    fn next(&self, tried: &[StartId]) -> Option<Sibling> {
        let now = Instant::now();
        let mut known = self.known.borrow_mut();
        let may_be_asked = |known: &&mut Known| {
            known.not_before.is_none_or(|at| at <= now) && !tried.contains(&known.sibling.start_id)
        };
        let best =
            known.iter_mut().filter(may_be_asked).min_by_key(|known| known.places.unwrap_or(u32::MAX))?;
        best.places = best.places.map(|places| places.saturating_add(1));
        Some(best.sibling.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sibling(number: u128) -> Sibling {
        Sibling {
            start_id: StartId(Uuid::from_u128(number)),
            instance: format!("a-{number}"),
            takeover: "/nowhere".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn fewest_first_and_who_refused_is_left_alone_for_a_while() {
        let siblings = Siblings::default();
        let known = |number, places| Known { sibling: sibling(number), places, not_before: None };
        siblings.known.replace(vec![known(1, Some(3)), known(2, Some(1)), known(3, None)]);
        let mut order = Vec::new();
        let mut next = |tried: &mut Vec<StartId>| {
            let found = siblings.next(tried).map(|sibling| sibling.start_id);
            tried.extend(found);
            order.extend(found.map(|start| start.0.as_u128()));
            found.is_some()
        };
        let mut tried = Vec::new();
        while next(&mut tried) {}
        assert_eq!(order, [2, 1, 3]);
        // Each question counts.
        siblings.note(&sibling(3), |known| known.places = Some(9));
        let picked = |siblings: &Siblings| siblings.next(&[]).unwrap().start_id.0.as_u128();
        assert_eq!((0..4).map(|_| picked(&siblings)).collect::<Vec<_>>(), [2, 2, 1, 2]);
        siblings.failed(&sibling(2));
        assert_eq!(picked(&siblings), 1);
        tokio::time::advance(SILENT).await;
        assert_eq!(picked(&siblings), 2);
    }
}
