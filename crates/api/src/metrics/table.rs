//! The table of all metrics: what each is called, what it means, and how it is read from what a scrape has seen.

use super::{Seen, connections, door, instances, manager, requests, services};
use myagent_core::spread::Spread;

/// One metric.
pub struct Metric {
    /// Its name, as it is shown.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
    /// Its samples now.
    pub(super) read: for<'a> fn(&'a Seen) -> Vec<Sample<'a>>,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, and begins again at zero.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How values are spread: `_bucket`, `_sum` and `_count`.
    Histogram,
    /// Always 1; what it says is in its labels.
    Info,
}

impl Kind {
    /// As Prometheus calls it; an info is a gauge to it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge | Self::Info => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Every metric, in the order in which they are shown.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    [
        manager::METRICS,
        services::METRICS,
        instances::METRICS,
        connections::METRICS,
        door::METRICS,
        requests::METRICS,
    ]
    .into_iter()
    .flatten()
}

/// One value, with those of its labels in the order of the metric's.
pub(super) struct Sample<'a> {
    pub(super) labels: Vec<&'a str>,
    pub(super) value: Value,
}

/// A value.
#[derive(Debug)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
    /// The sum in seconds, and how many are in each bucket; the last one has no bound.
    Spread(f64, Vec<(f64, u64)>),
}

impl<'a> Sample<'a> {
    pub(super) fn new(labels: impl Into<Vec<&'a str>>, value: impl Into<Value>) -> Self {
        Self { labels: labels.into(), value: value.into() }
    }

    /// The only one of its metric.
    pub(super) fn only(value: impl Into<Value>) -> Vec<Self> {
        vec![Self::new([], value)]
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<&Spread> for Value {
    fn from(spread: &Spread) -> Self {
        Self::Spread(spread.sum.as_secs_f64(), spread.buckets().collect())
    }
}
