//! How values become one: those of an interval, and those of several instances.

use super::metric::Kind;
use serde::{Deserialize, Serialize};

/// How the values of an interval, and then those of several instances, become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    /// The mean over all measured slots of all instances; of a counter, of its rate; of a histogram, of what was observed.
    Avg,
    /// The smallest value of a slot; of a counter, its smallest rate.
    Min,
    /// The largest.
    Max,
    /// Of a gauge, the means of the instances added; of a counter, all increments; of a histogram, everything observed added.
    Sum,
    /// Per second of measured time, the rates of the instances added; of a histogram, observations.
    Rate,
    /// Median.
    P50,
    /// Nine of ten are below.
    P90,
    /// 99 of 100 are below.
    P99,
}

impl Aggregate {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Avg, Self::Min, Self::Max, Self::Sum, Self::Rate, Self::P50, Self::P90, Self::P99];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Rate => "rate",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
        }
    }

    /// The share that is below, if it is a quantile.
    pub fn quantile(self) -> Option<f64> {
        match self {
            Self::P50 => Some(0.5),
            Self::P90 => Some(0.9),
            Self::P99 => Some(0.99),
            _ => None,
        }
    }

    /// Whether it means something for metrics of that kind.
    pub fn suits(self, kind: Kind) -> bool {
        match kind {
            Kind::Gauge => self.quantile().is_none() && self != Self::Rate,
            Kind::Counter => self.quantile().is_none(),
            Kind::Histogram => !matches!(self, Self::Min | Self::Max),
        }
    }

    /// What is meant if nothing is said.
    pub(super) fn usual(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Rate,
            // Of a fleet: how many connections, how much memory it has.
            Kind::Gauge => Self::Sum,
            Kind::Histogram => Self::Avg,
        }
    }
}

/// One series for each of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupBy {
    /// One series in all.
    #[default]
    None,
    /// Service.
    Service,
    /// Instance.
    Instance,
}

impl GroupBy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Service, Self::Instance];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Service => "service",
            Self::Instance => "instance",
        }
    }
}
