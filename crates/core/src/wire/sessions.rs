//! What became of sessions and their turns, in sums: counted by the host of an agent file, reported by its runner, added up
//! and kept by the manager. Plain data and additions; who calls when, and all clocks, are elsewhere.
//!
//! A session is *active* from its creation until it ends. One that ended is `completed`, or `failed` if its last turn
//! failed. Sessions that were active when their runner ended are neither: they wait for their clients to come back.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::openapi::{Object, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// The buckets of a [`Timing`]: what it is called in JSON, and the longest time in it, microseconds.
const BUCKETS: [(&str, u64); 14] = [
    ("0.1", 100_000),
    ("0.25", 250_000),
    ("0.5", 500_000),
    ("1", 1_000_000),
    ("2.5", 2_500_000),
    ("5", 5_000_000),
    ("10", 10_000_000),
    ("30", 30_000_000),
    ("60", 60_000_000),
    ("120", 120_000_000),
    ("300", 300_000_000),
    ("1800", 1_800_000_000),
    ("7200", 7_200_000_000),
    ("inf", u64::MAX),
];

/// Durations: how many, their sum, the longest, and how they are spread. All but the longest only grow by additions, so
/// the sums of several runners are the same in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// How many.
    pub count: u64,
    /// All of them together, in microseconds; seconds in JSON.
    #[serde(rename = "sum_seconds", with = "seconds")]
    pub sum: Duration,
    /// The longest, in microseconds; seconds in JSON.
    #[serde(rename = "max_seconds", with = "seconds")]
    pub max: Duration,
    /// How many were at most so long and longer than the bucket before. In JSON an object by the upper bound in seconds.
    #[serde(with = "spread", skip_serializing_if = "spread::is_empty")]
    buckets: [u64; BUCKETS.len()],
}

impl PartialSchema for Timing {
    fn schema() -> RefOr<Schema> {
        let number = || Object::builder().schema_type(Type::Number).minimum(Some(0));
        let integer = || Object::builder().schema_type(Type::Integer).minimum(Some(0));
        let buckets =
            BUCKETS.iter().fold(Object::builder(), |buckets, (name, _)| buckets.property(*name, integer()));
        Object::builder()
            .property("count", integer().description(Some("How many.")))
            .property("sum_seconds", number().description(Some("All of them together, seconds.")))
            .property("max_seconds", number().description(Some("The longest, seconds.")))
            .property(
                "buckets",
                buckets.description(Some(
                    "How many took at most so many seconds and longer than the bucket before; left out if there are none.",
                )),
            )
            .required("count")
            .required("sum_seconds")
            .required("max_seconds")
            .description(Some("Durations: how many, their sum, the longest, and how they are spread."))
            .into()
    }
}

impl ToSchema for Timing {}

impl Timing {
    /// Adds one.
    pub fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let took = Duration::from_micros(micros);
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(took);
        self.max = self.max.max(took);
        let bucket = &mut self.buckets[bucket_of(micros)];
        *bucket = bucket.saturating_add(1);
    }

    /// Adds those of another.
    pub fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket = bucket.saturating_add(more);
        }
    }

    /// The mean; none if there was none.
    pub fn average(&self) -> Option<Duration> {
        (self.count > 0).then(|| self.sum.div_f64(self.count as f64))
    }

    /// Upper bounds in seconds, the last one infinite, and how many are in each bucket.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BUCKETS.iter().map(|(_, micros)| match *micros {
            u64::MAX => f64::INFINITY,
            micros => micros as f64 / 1e6,
        });
        bounds.zip(self.buckets)
    }
}

/// The first bucket that holds so many microseconds.
fn bucket_of(micros: u64) -> usize {
    BUCKETS.partition_point(|(_, bound)| *bound < micros).min(BUCKETS.len() - 1)
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnEnd {
    /// With its answer.
    Completed,
    /// By the client.
    Cancelled,
    /// The agent raised an error.
    AgentError,
    /// The agent's process died, and the turn could not be repeated.
    WorkerLost,
    /// The instance was stopped or restarted.
    Interrupted,
}

impl TurnEnd {
    /// Neither answered nor cancelled.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::AgentError | Self::WorkerLost | Self::Interrupted)
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// Nobody came back to it within `session_timeout`.
    Expired,
    /// It made room: there were more than `max_detached_sessions`.
    Evicted,
    /// Anything else: its client left before it began, or it could not be created.
    Closed,
}

/// Sums of turns. Each accepted message is one turn, however often it is given to an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TurnTotals {
    /// Messages that were taken to be answered.
    pub accepted: u64,
    /// Answered.
    pub completed: u64,
    /// Cancelled by the client.
    pub cancelled: u64,
    /// Failed, for one of the three reasons that follow.
    pub failed: u64,
    /// The agent raised an error.
    pub agent_error: u64,
    /// The agent's process died.
    pub worker_lost: u64,
    /// The instance was stopped or restarted.
    pub interrupted: u64,
    /// From a message's acceptance to the end of its answer, waiting included; of completed turns.
    pub duration: Timing,
    /// From a message's acceptance to the agent's first event other than `agent.thinking`, waiting included.
    pub first_response: Timing,
}

impl TurnTotals {
    /// A turn ended, so long after its message was accepted.
    pub fn ended(&mut self, how: TurnEnd, took: Duration) {
        let counter = match how {
            TurnEnd::Completed => {
                self.duration.record(took);
                &mut self.completed
            }
            TurnEnd::Cancelled => &mut self.cancelled,
            TurnEnd::AgentError => &mut self.agent_error,
            TurnEnd::WorkerLost => &mut self.worker_lost,
            TurnEnd::Interrupted => &mut self.interrupted,
        };
        *counter = counter.saturating_add(1);
        self.failed = self.failed.saturating_add(u64::from(how.is_failure()));
    }

    fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.accepted, other.accepted),
            (&mut self.completed, other.completed),
            (&mut self.cancelled, other.cancelled),
            (&mut self.failed, other.failed),
            (&mut self.agent_error, other.agent_error),
            (&mut self.worker_lost, other.worker_lost),
            (&mut self.interrupted, other.interrupted),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.duration.add(&other.duration);
        self.first_response.add(&other.first_response);
    }
}

/// Sums of sessions; how many were ever created is in [`super::sums::Totals::sessions`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SessionTotals {
    /// Ended, and the last turn had not failed.
    pub completed: u64,
    /// Ended, and the last turn had failed, or it could not be created.
    pub failed: u64,
    /// Of those that ended: nobody came back within `session_timeout`.
    pub expired: u64,
    /// Of those that ended: there were more than `max_detached_sessions`.
    pub evicted: u64,
    /// Times that a client came back to its session.
    pub resumed: u64,
    /// Taken over from a runner that died.
    pub adopted: u64,
    /// From creation to last activity; of those that ended.
    pub duration: Timing,
    /// Their turns.
    pub turns: TurnTotals,
}

impl SessionTotals {
    /// A session ended. `failed`: its last turn did. `lived`: from its creation to its last activity.
    pub fn ended(&mut self, how: SessionEnd, failed: bool, lived: Duration) {
        let outcome = if failed { &mut self.failed } else { &mut self.completed };
        *outcome = outcome.saturating_add(1);
        match how {
            SessionEnd::Expired => self.expired = self.expired.saturating_add(1),
            SessionEnd::Evicted => self.evicted = self.evicted.saturating_add(1),
            SessionEnd::Closed => {}
        }
        self.duration.record(lived);
    }

    /// Adds those of another runner.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.completed, other.completed),
            (&mut self.failed, other.failed),
            (&mut self.expired, other.expired),
            (&mut self.evicted, other.evicted),
            (&mut self.resumed, other.resumed),
            (&mut self.adopted, other.adopted),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.duration.add(&other.duration);
        self.turns.add(&other.turns);
    }
}

/// Whole microseconds as a number of seconds; exact for fifty years and more.
mod seconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(time.as_micros() as f64 / 1e6)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        // What is no time becomes none: a number as conversions have it.
        Ok(Duration::from_micros((f64::deserialize(from)? * 1e6).round() as u64))
    }
}

/// The buckets as an object, so that nobody needs to know their bounds to read them. A bound that is not ours (of another
/// version) is counted with the next one that is.
mod spread {
    use super::{BUCKETS, bucket_of};
    use serde::ser::SerializeMap;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::BTreeMap;

    type Buckets = [u64; BUCKETS.len()];

    pub(super) fn is_empty(buckets: &Buckets) -> bool {
        *buckets == Buckets::default()
    }

    pub(super) fn serialize<S: Serializer>(buckets: &Buckets, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(buckets.len()))?;
        for ((name, _), count) in BUCKETS.iter().zip(buckets) {
            map.serialize_entry(name, count)?;
        }
        map.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Buckets, D::Error> {
        let mut buckets = Buckets::default();
        for (bound, count) in BTreeMap::<String, u64>::deserialize(from)? {
            let seconds: f64 = bound.parse().map_err(serde::de::Error::custom)?;
            let bucket = &mut buckets[bucket_of((seconds * 1e6).round() as u64)];
            *bucket = bucket.saturating_add(count);
        }
        Ok(buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn timing(millis: &[u64]) -> Timing {
        let mut timing = Timing::default();
        for millis in millis {
            timing.record(Duration::from_millis(*millis));
        }
        timing
    }

    /// The upper bounds of the buckets that are not empty.
    fn filled(timing: &Timing) -> Vec<(f64, u64)> {
        timing.buckets().filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn a_time_is_in_the_first_bucket_that_holds_it() {
        assert_eq!(filled(&timing(&[0, 100])), [(0.1, 2)]);
        assert_eq!(filled(&timing(&[101, 250, 251])), [(0.25, 2), (0.5, 1)]);
        assert_eq!(filled(&timing(&[300_000, 300_001])), [(300.0, 1), (1800.0, 1)]);
        assert_eq!(filled(&timing(&[7_200_001])), [(f64::INFINITY, 1)]);
        let mut longest = Timing::default();
        longest.record(Duration::MAX);
        assert_eq!(filled(&longest), [(f64::INFINITY, 1)]);
        assert!(BUCKETS.is_sorted_by_key(|(_, micros)| *micros));
        for (name, micros) in &BUCKETS[..BUCKETS.len() - 1] {
            assert_eq!((name.parse::<f64>().unwrap() * 1e6) as u64, *micros);
        }
    }

    #[test]
    fn the_average_is_of_what_there_was() {
        assert_eq!(Timing::default().average(), None);
        assert_eq!(timing(&[1_000, 2_000, 6_000]).average(), Some(Duration::from_secs(3)));
        assert_eq!(timing(&[1_000, 6_000, 2_000]).max, Duration::from_secs(6));
    }

    #[test]
    fn each_end_of_a_turn_has_its_counter_and_only_answers_have_a_duration() {
        let mut turns = TurnTotals::default();
        let ends = [
            TurnEnd::Completed,
            TurnEnd::Cancelled,
            TurnEnd::AgentError,
            TurnEnd::WorkerLost,
            TurnEnd::Interrupted,
        ];
        for end in ends {
            turns.ended(end, Duration::from_secs(1));
        }
        let expected = TurnTotals {
            completed: 1,
            cancelled: 1,
            failed: 3,
            agent_error: 1,
            worker_lost: 1,
            interrupted: 1,
            duration: timing(&[1_000]),
            ..TurnTotals::default()
        };
        assert_eq!(turns, expected);
    }

    #[test]
    fn a_session_that_ended_is_completed_or_failed_by_its_last_turn() {
        let mut sessions = SessionTotals::default();
        sessions.ended(SessionEnd::Expired, false, Duration::from_secs(10));
        sessions.ended(SessionEnd::Evicted, true, Duration::from_secs(20));
        sessions.ended(SessionEnd::Closed, false, Duration::ZERO);
        assert_eq!((sessions.completed, sessions.failed), (2, 1));
        assert_eq!((sessions.expired, sessions.evicted), (1, 1));
        assert_eq!((sessions.duration.count, sessions.duration.sum), (3, Duration::from_secs(30)));
    }

    #[test]
    fn json_says_seconds_and_bounds_and_leaves_an_empty_spread_out() {
        let json = serde_json::to_value(timing(&[250, 1_500])).unwrap();
        assert_eq!((&json["sum_seconds"], &json["max_seconds"]), (&1.75.into(), &1.5.into()));
        assert_eq!((&json["buckets"]["0.25"], &json["buckets"]["2.5"]), (&1.into(), &1.into()));
        assert_eq!((&json["buckets"]["0.1"], &json["buckets"]["inf"]), (&0.into(), &0.into()));
        let empty = serde_json::to_string(&Timing::default()).unwrap();
        assert_eq!(empty, r#"{"count":0,"sum_seconds":0.0,"max_seconds":0.0}"#);
    }

    #[test]
    fn what_another_version_left_out_or_added_is_no_obstacle() {
        assert_eq!(serde_json::from_str::<SessionTotals>("{}").unwrap(), SessionTotals::default());
        let other =
            r#"{"completed":2,"duration":{"count":3,"buckets":{"0.05":1,"0.2":1,"1e9":1}},"paused":7}"#;
        let read: SessionTotals = serde_json::from_str(other).unwrap();
        assert_eq!(read.completed, 2);
        assert_eq!(filled(&read.duration), [(0.1, 1), (0.25, 1), (f64::INFINITY, 1)]);
        for wrong in [
            r#"{"duration":{"buckets":{"soon":1}}}"#,
            r#"{"duration":{"buckets":{"1":-1}}}"#,
            r#"{"completed":"many"}"#,
        ] {
            assert!(serde_json::from_str::<SessionTotals>(wrong).is_err(), "{wrong}");
        }
        let odd: Timing = serde_json::from_str(r#"{"sum_seconds":-1.0}"#).unwrap();
        assert_eq!(odd.sum, Duration::ZERO);
    }

    fn any_timing() -> impl Strategy<Value = Timing> {
        let micros = prop_oneof![0_u64..2_000_000, 0_u64..100_000_000_000];
        proptest::collection::vec(micros, 0..20).prop_map(|times| {
            let mut timing = Timing::default();
            for micros in times {
                timing.record(Duration::from_micros(micros));
            }
            timing
        })
    }

    proptest! {
        #[test]
        fn sums_are_the_same_in_any_order_and_never_shrink(a in any_timing(), b in any_timing(), c in any_timing()) {
            let sum = |parts: [&Timing; 3]| {
                let mut sum = Timing::default();
                for part in parts {
                    sum.add(part);
                }
                sum
            };
            let all = sum([&a, &b, &c]);
            prop_assert_eq!(&all, &sum([&c, &a, &b]));
            prop_assert!(all.count >= a.count && all.sum >= a.sum && all.max >= a.max);
            prop_assert_eq!(all.buckets().map(|(_, count)| count).sum::<u64>(), all.count);
            let json = serde_json::to_string(&all).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timing>(&json).unwrap(), all);
        }
    }
}
