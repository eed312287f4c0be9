//! How one of several eligible instances is chosen: one file each, all pure.
//!
//! A strategy may have no answer (`manual` without a service of its list, `hash_based` without a key): then the fallback is asked.

mod hash_based;
mod least_connections;
mod manual;
mod performance_based;
mod round_robin;
mod tag_based;
#[cfg(test)]
mod tests;
mod weighted_random;

use serde::de::IntoDeserializer;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// The strategies there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Each in turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest connections for its weight.
    LeastConnections,
    /// By chance: by weight or, where all weigh the same and have a limit, by free places.
    WeightedRandom,
    /// The same instance for the same key, as far as loads allow.
    HashBased,
    /// Those with the most of the wanted tags, of them the one with the fewest connections.
    TagBased,
    /// Of two taken by chance the one that answers quicker for its load.
    PerformanceBased,
    /// The first of the services that the rule lists.
    Manual,
}

impl Strategy {
    /// All, in the order of the reference page.
    pub const ALL: [Self; 7] = [
        Self::RoundRobin,
        Self::LeastConnections,
        Self::WeightedRandom,
        Self::HashBased,
        Self::TagBased,
        Self::PerformanceBased,
        Self::Manual,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastConnections => "least_connections",
            Self::WeightedRandom => "weighted_random",
            Self::HashBased => "hash_based",
            Self::TagBased => "tag_based",
            Self::PerformanceBased => "performance_based",
            Self::Manual => "manual",
        }
    }

    /// Chooses one of the candidates, by its place among them. None: it has no answer.
    pub(super) fn select(self, candidates: &[Candidate], inputs: &Inputs<'_>) -> Option<usize> {
        match (self, candidates) {
            (_, []) => None,
            (Self::RoundRobin, _) => Some(round_robin::select(candidates, (inputs.tick)())),
            (Self::LeastConnections, _) => least_connections::select(candidates, |_| true, (inputs.tick)()),
            (Self::WeightedRandom, _) => weighted_random::select(candidates, inputs.random),
            (Self::HashBased, _) => hash_based::select(candidates, inputs.key?, inputs.seeds),
            (Self::TagBased, _) => tag_based::select(candidates, (inputs.tick)()),
            (Self::PerformanceBased, _) => Some(performance_based::select(candidates, inputs)),
            (Self::Manual, _) => manual::select(candidates),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::deserialize(text.into_deserializer())
            .map_err(|error: serde::de::value::Error| error.to_string())
    }
}

/// An eligible instance, as strategies see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Which, in the snapshot.
    pub(super) index: u32,
    /// Open connections.
    pub(super) active: u32,
    /// Its weight, at least 1.
    pub(super) weight: u32,
    /// Its weight, less while it is new.
    pub(super) share: f32,
    /// Places that are free; [`UNLIMITED`].
    pub(super) free: u32,
    /// Its service's place in the rule's list; [`UNLISTED`].
    pub(super) rank: u16,
    /// How many of the wanted tags it has.
    pub(super) matches: u16,
    /// The parts of the rule's split that it belongs to, a bit each.
    pub(super) parts: u16,
}

/// No limit of places.
pub(super) const UNLIMITED: u32 = u32::MAX;
/// Not in the rule's list.
pub(super) const UNLISTED: u16 = u16::MAX;

/// What else a strategy may need. Reading the tick counts it on, so only who needs it asks.
pub(super) struct Inputs<'a> {
    /// The number of choices made before for this pool.
    pub(super) tick: &'a dyn Fn() -> u64,
    /// Equally distributed.
    pub(super) random: u64,
    /// Hash of the client's key; none: it has none.
    pub(super) key: Option<u64>,
    /// What each instance of the snapshot adds to a key for its lot.
    pub(super) seeds: &'a [u64],
    /// Latency of an instance, nanoseconds.
    pub(super) latency: &'a dyn Fn(u32) -> Option<f64>,
}
