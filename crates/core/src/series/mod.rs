//! The past of the fleet in numbers: what is measured, how it is packed, and how a question about it is answered. Pure: when
//! something is measured and where it is kept is decided by `control` and `store`.
//!
//! **Time.** A *slot* is ten seconds, named by its beginning: the slot of 12:00:00 holds what was counted until 12:00:10, and
//! gauges as they were at its end. Slots nest in minutes, and minutes in hours, so each [`Tier`] is the exact sum of the
//! finer one. A slot in which nobody measured is absent in all of them: it is neither zero nor a guess.
//!
//! **Counters** are kept as increments per slot ([`track`]), so that a rate is a sum divided by the time that was measured.
//!
//! Where to go: [`metric`] (what there is), [`track`] (raw values to increments), [`point`] (rollups), [`ints`] and [`block`]
//! (bytes), [`segment`] (one minute of everybody, and the end of an hour), [`request`] (a question) and [`answer`].

pub mod aggregate;
pub mod answer;
pub mod block;
pub mod ints;
pub mod metric;
pub mod point;
mod quantile;
mod reader;
pub mod request;
pub mod segment;
pub mod track;

pub use aggregate::{Aggregate, GroupBy};
pub use answer::{Evaluation, Label, Series, TimeseriesView};
pub use block::{Columns, decode, encode};
pub use metric::{Kind, METRICS, Metric};
pub use point::{Column, Point};
pub use request::{Plan, TimeseriesQuery};

use crate::ids::{InstanceKey, ServiceId};
use serde::{Deserialize, Serialize};

/// Length of a slot, seconds.
pub const SLOT: i64 = 10;
/// Slots, minutes or hours of a chunk: every tier has as many.
pub const CHUNK_POINTS: u16 = 360;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Whose numbers: of an instance, or of a service as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityKey {
    /// The service.
    pub service_id: ServiceId,
    /// The instance; none: what is known of the service only.
    pub index: Option<u32>,
}

impl EntityKey {
    /// Its name, if it is an instance.
    pub fn instance_name(&self, service: &str) -> Option<String> {
        self.index.map(|index| InstanceKey { service_id: self.service_id, index }.name(service))
    }
}

/// What is not ours, or damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored statistics cannot be read: {0}")]
pub struct Unreadable(pub &'static str);

/// How finely, and for how long.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
pub enum Tier {
    /// Slots of ten seconds, a day.
    #[serde(rename = "10s")]
    Slots,
    /// Minutes, two weeks.
    #[serde(rename = "1m")]
    Minutes,
    /// Hours, a year.
    #[serde(rename = "1h")]
    Hours,
}

impl Tier {
    /// From the finest on.
    pub const ALL: [Self; 3] = [Self::Slots, Self::Minutes, Self::Hours];

    /// Seconds of a point.
    pub fn step(self) -> i64 {
        match self {
            Self::Slots => SLOT,
            Self::Minutes => 60,
            Self::Hours => HOUR,
        }
    }

    /// Seconds that its points are kept.
    pub fn retention(self) -> i64 {
        match self {
            Self::Slots => DAY,
            Self::Minutes => 14 * DAY,
            Self::Hours => 365 * DAY,
        }
    }

    /// Seconds of a chunk: an hour, six hours, fifteen days.
    pub fn chunk(self) -> i64 {
        self.step() * i64::from(CHUNK_POINTS)
    }

    /// Slots of a full point.
    pub fn slots(self) -> u32 {
        match self {
            Self::Slots => 1,
            Self::Minutes => 6,
            Self::Hours => 360,
        }
    }

    /// The window of a chunk that holds `time`, counted from 1970.
    pub fn window(self, time: i64) -> i64 {
        time.div_euclid(self.chunk())
    }

    /// The number in the file.
    pub fn number(self) -> u8 {
        match self {
            Self::Slots => 0,
            Self::Minutes => 1,
            Self::Hours => 2,
        }
    }

    /// The windows that are kept at `now`: those that may still hold something young enough, and none of a future, beyond a
    /// day, that only a wrong clock has seen.
    pub fn kept(self, now: i64) -> std::ops::RangeInclusive<i64> {
        self.window(now - self.retention())..=self.window(now + DAY)
    }
}

/// The hour that holds `time`.
pub fn hour_of(time: i64) -> i64 {
    time.div_euclid(HOUR) * HOUR
}
