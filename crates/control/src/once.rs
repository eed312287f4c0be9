//! A creation that is done once, however often it is asked for: the asker names it with a key of its own.

use crate::commands::storage;
use crate::engine::Engine;
use myagent_core::error::{Code, Problem};
use myagent_store::Creation;
use uuid::Uuid;

/// The key of a creation, and what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// Chosen by the asker, the same each time.
    pub key: String,
    /// Of the request: a key that comes with another one is a mistake.
    pub fingerprint: String,
}

/// When something was made that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// For this request.
    Now,
    /// For an earlier one with the same key.
    Before,
}

impl Engine {
    /// The id of what was made for that key.
    pub(crate) fn made_before(&self, once: Option<&Once>) -> Result<Option<Uuid>, Problem> {
        let Some(once) = once else { return Ok(None) };
        let found = self.store.creation(&once.key, self.clock.now()).map_err(|error| storage(&error))?;
        let Some(creation) = found else { return Ok(None) };
        if creation.fingerprint != once.fingerprint {
            return Err(reused("was used for another request; take a new one"));
        }
        Ok(creation.subject.parse().ok())
    }

    /// What is stored with what is made.
    pub(crate) fn creation(&self, once: Option<&Once>, subject: Uuid) -> Option<Creation> {
        let Once { key, fingerprint } = once?.clone();
        Some(Creation { key, fingerprint, subject: subject.to_string(), at: self.clock.now() })
    }
}

/// What was made with the key is gone.
pub(crate) fn gone() -> Problem {
    reused("was used already, and what was made then has been removed since; take a new one")
}

fn reused(what: &str) -> Problem {
    Problem::new(Code::IdempotencyKeyReused, format!("the Idempotency-Key {what}"))
}
