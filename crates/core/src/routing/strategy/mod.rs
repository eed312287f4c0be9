//! How one of several eligible instances is chosen: one file each.

mod round_robin;

use super::snapshot::RoutedInstance;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The strategies there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Each in turn, by weight.
    #[default]
    RoundRobin,
}

impl Strategy {
    /// Chooses one of `pool`; `tick` counts the choices made for it before. None: the pool is empty.
    pub fn select<'a>(self, pool: &[&'a RoutedInstance], tick: u64) -> Option<&'a RoutedInstance> {
        match self {
            Self::RoundRobin => round_robin::select(pool, tick),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoundRobin => f.write_str("round_robin"),
        }
    }
}
