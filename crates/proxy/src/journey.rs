//! What has happened to a client on its way to an instance. It goes with the client: into the hands of a runner, and on
//! from there if that gives the client back.

use crate::queue::Place;
use myagent_core::InstanceKey;
use myagent_core::wire::handover::Refusal;
use tokio::time::Instant;

/// Runners that are tried for one client: when so many have failed it is refused, when some were only full it waits.
pub(crate) const MAX_TRIES: usize = 3;

/// The way of one client so far.
#[derive(Default)]
pub(crate) struct Journey {
    /// Runners not to try again before something has changed.
    pub(crate) tried: Vec<InstanceKey>,
    /// Runners that gave it back, or were not reached.
    pub(crate) count: u32,
    /// Those of them that failed.
    failed: usize,
    /// What the last one said.
    pub(crate) last: Option<String>,
    /// Waiting cannot help: the last one tried said so.
    pub(crate) is_final: bool,
    /// Its place in the queue, if it waits.
    pub(crate) place: Option<Place>,
    /// How long it waits at most, once it does.
    pub(crate) deadline: Option<Instant>,
}

impl Journey {
    /// Of a client that was taken, and given back later; `attempt` is the number of that offer. Counted on, so that runners
    /// which all do this cannot pass a client round for ever.
    pub(crate) fn after(attempt: u32, by: InstanceKey, detail: String) -> Self {
        let count = attempt.saturating_add(1);
        Self { tried: vec![by], count, failed: count as usize, last: Some(detail), ..Self::default() }
    }

    /// A runner gave the client back.
    pub(crate) fn given_back(&mut self, by: InstanceKey, reason: Refusal, detail: String) {
        // Full, draining and not ready pass by themselves: waiting helps. An agent that answers with an error of its own will
        // do so again.
        let is_final = matches!(reason, Refusal::UpstreamError | Refusal::BadRequest);
        self.note(by, is_failure(reason), is_final, detail);
    }

    /// A runner could not be reached.
    pub(crate) fn not_reached(&mut self, key: InstanceKey, detail: String) {
        self.note(key, true, false, detail);
    }

    fn note(&mut self, key: InstanceKey, failed: bool, is_final: bool, detail: String) {
        self.tried.push(key);
        self.count += 1;
        self.failed += usize::from(failed);
        self.is_final = is_final;
        self.last = Some(detail);
    }

    /// Whether an instance failed it: then that is what its client is told.
    pub(crate) fn met_failure(&self) -> bool {
        self.failed > 0
    }

    /// So many runners have failed that no other one is tried.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed >= MAX_TRIES
    }
}

/// Whether giving a client back for this is the instance's fault; being full or on its way out is none.
pub(crate) fn is_failure(reason: Refusal) -> bool {
    matches!(reason, Refusal::ConnectFailed | Refusal::UpstreamError)
}
