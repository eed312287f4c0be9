//! Whose a session is, and taking over one whose owner is dead.

use crate::AdoptError;
use crate::Owner;
use crate::estate::{Estate, Fetched};
use crate::index::Entry;
use crate::journal::Journal;
use crate::owner::Life;
use crate::record::Kind;
use std::sync::Arc;
use uuid::Uuid;

impl Journal {
    /// Who has the session. A few system calls.
    pub fn locate(&self, id: Uuid) -> Owner {
        if self.contains(id) {
            return Owner::Here;
        }
        let Some(place) = &self.place else { return Owner::Unknown };
        let life = match place.link(id) {
            Ok(Some(link)) if link.start != self.config.start_id => {
                place.life(link.start).map(|life| (link, life))
            }
            // Our own log would have it.
            Ok(_) => return Owner::Unknown,
            Err(error) => Err(error),
        };
        match life {
            Ok((link, Life::Dead)) => {
                Owner::Dead(Estate::new(id, link, Arc::clone(place), Arc::clone(&self.dead)))
            }
            Ok((link, Life::Lives(header))) => Owner::Live {
                start_id: link.start,
                instance: header.instance,
                takeover: header.takeover,
                pid: header.pid,
            },
            Ok((_, Life::Gone)) => Owner::Unknown,
            Err(error) => {
                tracing::warn!(%error, session = %id, "failed to see who has a session");
                Owner::Unclear
            }
        }
    }

    /// Takes a fetched session over: writes it into this log, flushes, replaces the link. Until then nothing has changed for anybody.
    /// The session is then as after [`Journal::begin`]: not idle.
    pub fn adopt(&self, fetched: Fetched) -> Result<(), AdoptError> {
        let Fetched { session, link, mut carried, .. } = fetched;
        let Some(place) = &self.place else { return Err(AdoptError::Off { session }) };
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let id = session.as_u128();
        if inner.sessions.contains_key(&id) {
            return Err(AdoptError::Here { session });
        }
        // What waits is not to be lost together with this session if that does not fit.
        if !inner.flush_log() {
            let reason = inner.problem().unwrap_or_default();
            return Err(AdoptError::Write { session, reason });
        }
        let epoch = link.epoch.saturating_add(1);
        carried.epoch = epoch;
        let mut all = u64::MAX;
        let entry = carried.write(&mut inner.log, id, &Entry::default(), &mut all);
        inner.sessions.insert(id, entry);
        let written = inner.flush_log();
        let claimed = if written {
            place
                .replace_link(session, self.link(epoch))
                .map_err(|source| AdoptError::Link { session, source })
        } else {
            Err(AdoptError::Write { session, reason: inner.problem().unwrap_or_default() })
        };
        if claimed.is_err() {
            // The copy must not be mistaken for the session, should this log be read one day.
            inner.append(session, Kind::End, 0, &[]);
            inner.sessions.remove(&id);
        }
        inner.clean_if_due();
        claimed
    }
}
