//! The answer: points of many entities put into intervals, then together.
//!
//! **What an aggregate means**, first within an interval for each instance, then across instances:
//!
//! | | gauge | counter | histogram |
//! | --- | --- | --- | --- |
//! | `avg` | mean of all measured slots | mean rate of all measured slots | mean of what was observed |
//! | `min`, `max` | extreme of a slot of any instance | extreme rate of a slot of any instance | |
//! | `sum` | the instances' means, added | all increments | everything observed, added |
//! | `rate` | | the instances' rates, added | observations per second, likewise |
//! | `p50`... | | | from all buckets together |
//!
//! Where nothing was measured there is no value. A rate is of the time that was measured, so that a gap does not lower it; a
//! `sum` of a counter has nothing of what happened in a gap.

use super::aggregate::{Aggregate, GroupBy};
use super::metric::{Kind, Metric, bucket_bounds};
use super::quantile::quantile;
use super::request::Plan;
use super::{Column, Columns, EntityKey, Point, SLOT, Tier};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Series {
    /// Of this service; none: of all that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Of this instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Beginnings of intervals, seconds since 1970, and values; null: nothing was measured.
    #[schema(value_type = Vec<Vec<Option<f64>>>)]
    pub points: Vec<(i64, Option<f64>)>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TimeseriesView {
    /// Of what.
    pub metric: String,
    /// Of the values.
    pub unit: String,
    /// How the metric behaves.
    pub kind: Kind,
    /// How values became one.
    pub agg: Aggregate,
    /// Length of a point.
    pub interval_seconds: i64,
    /// What was read for it.
    pub tier: Tier,
    /// Beginning of the first point, seconds since 1970.
    pub from: i64,
    /// End of the last.
    pub to: i64,
    /// By service and instance; if the `top` was asked for, the largest first.
    pub series: Vec<Series>,
    /// How many more there are, which are not among the `top`.
    #[serde(default, skip_serializing_if = "crate::omit::zero")]
    pub left_out: usize,
    /// What is not in it, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Whose numbers an entity's are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// Name of the service.
    pub service: String,
    /// Name of the instance; none: of the service as a whole.
    pub instance: Option<String>,
}

impl Label {
    /// What it is the same as in an answer.
    fn grouped(&self, by: GroupBy) -> (Option<&str>, Option<&str>) {
        match by {
            GroupBy::None => (None, None),
            GroupBy::Service => (Some(&self.service), None),
            GroupBy::Instance => (Some(&self.service), self.instance.as_deref()),
        }
    }
}

/// One interval of one entity: a point, and the buckets of a histogram.
#[derive(Clone, Debug, Default)]
struct Cell {
    point: Point,
    rest: Vec<i64>,
}

/// Which points an entity has given, and what they amount to.
struct Given {
    seen: Vec<u64>,
    cells: Vec<Cell>,
}

/// An answer that is being made.
pub struct Evaluation {
    plan: Plan,
    given: BTreeMap<EntityKey, Given>,
}

impl Evaluation {
    /// Without points.
    pub fn new(plan: Plan) -> Self {
        Self { plan, given: BTreeMap::new() }
    }

    /// What is answered.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Takes an entity's points of the plan's tier, whose place 0 is at `start`. The same points may come several times: the
    /// first count.
    pub fn take(&mut self, entity: EntityKey, start: i64, columns: &Columns) {
        let plan = self.plan;
        let mut numbers = plan.metric.columns();
        let Some(first) = numbers.next().and_then(|number| columns.get(&number)) else { return };
        let rest: Vec<_> = numbers.map(|number| columns.get(&number)).collect();
        let step = plan.tier.step();
        let places = usize::try_from((plan.to - plan.from) / step).unwrap_or_default();
        let given = self.given.entry(entity).or_insert_with(|| Given {
            seen: vec![0; places.div_ceil(64)],
            cells: vec![Cell::default(); plan.points()],
        });
        for (nth, (place, point)) in first.iter().enumerate() {
            let since = start + i64::from(*place) * step - plan.from;
            let Ok(at) = usize::try_from(since.div_euclid(step)) else { continue };
            let cell = usize::try_from(since / plan.interval).ok().and_then(|cell| given.cells.get_mut(cell));
            let (Some(cell), Some(seen)) = (cell, given.seen.get_mut(at / 64)) else { continue };
            if *seen & (1 << (at % 64)) != 0 {
                continue;
            }
            *seen |= 1 << (at % 64);
            cell.point.add(point);
            cell.rest.resize(rest.len(), 0);
            for (sum, column) in cell.rest.iter_mut().zip(&rest) {
                *sum = sum.saturating_add(column.map_or(0, |column| sum_at(column, nth, *place)));
            }
        }
    }

    /// The answer. Entities without a label are not in it.
    pub fn finish(self, labels: &BTreeMap<EntityKey, Label>) -> TimeseriesView {
        let plan = self.plan;
        let mut groups: BTreeMap<(Option<&str>, Option<&str>), Vec<Total>> = BTreeMap::new();
        if plan.group_by == GroupBy::None {
            groups.insert((None, None), vec![Total::default(); plan.points()]);
        }
        for (entity, given) in &self.given {
            let Some(label) = labels.get(entity) else { continue };
            let totals = groups.entry(label.grouped(plan.group_by));
            let totals = totals.or_insert_with(|| vec![Total::default(); plan.points()]);
            for (total, cell) in totals.iter_mut().zip(&given.cells).filter(|(_, cell)| cell.point.count > 0)
            {
                total.add(cell, plan.metric.kind);
            }
        }
        let bounds = bucket_bounds();
        let times = (0..).map(|at| plan.from + at * plan.interval);
        let series = groups.into_iter().map(|((service, instance), totals)| {
            let values = totals.iter().map(|total| total.value(plan.metric, plan.agg, &bounds));
            Series {
                service: service.map(str::to_owned),
                instance: instance.map(str::to_owned),
                points: times.clone().zip(values).collect(),
            }
        });
        let (series, left_out) = largest(series.collect(), plan.top);
        let per_second = match (plan.metric.kind, plan.agg) {
            (Kind::Histogram, Aggregate::Rate) => Some("observations/s".to_owned()),
            (Kind::Counter, Aggregate::Sum) | (Kind::Gauge | Kind::Histogram, _) => None,
            (Kind::Counter, _) => Some(format!("{}/s", plan.metric.unit)),
        };
        TimeseriesView {
            metric: plan.metric.name.to_owned(),
            unit: per_second.unwrap_or_else(|| plan.metric.unit.to_owned()),
            kind: plan.metric.kind,
            agg: plan.agg,
            interval_seconds: plan.interval,
            tier: plan.tier,
            from: plan.from,
            to: plan.to,
            series,
            left_out,
            warning: None,
        }
    }
}

/// The `top` series with the largest values in all, and how many others there are.
fn largest(series: Vec<Series>, top: Option<usize>) -> (Vec<Series>, usize) {
    let Some(top) = top else { return (series, 0) };
    let sum = |one: &Series| one.points.iter().filter_map(|(_, value)| *value).sum::<f64>();
    let mut weighed: Vec<_> = series.into_iter().map(|one| (sum(&one), one)).collect();
    weighed.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let left_out = weighed.len().saturating_sub(top);
    (weighed.into_iter().take(top).map(|(_, one)| one).collect(), left_out)
}

/// The sum at a place, which is the `nth` point of a column with the same places as the first: they all have.
fn sum_at(column: &Column, nth: usize, place: u16) -> i64 {
    column.get(nth).filter(|(at, _)| *at == place).map_or(0, |(_, point)| point.sum)
}

/// One interval of all entities of a group.
#[derive(Clone, Debug, Default)]
struct Total {
    slots: i128,
    sum: i128,
    min: i64,
    max: i64,
    /// The entities' means per slot, added.
    means: f64,
    /// A histogram's buckets, and its sum.
    buckets: Vec<i128>,
}

impl Total {
    fn add(&mut self, cell: &Cell, kind: Kind) {
        let point = &cell.point;
        let is_first = self.slots == 0;
        self.slots += i128::from(point.count);
        self.sum += i128::from(point.sum);
        self.min = if is_first { point.min } else { self.min.min(point.min) };
        self.max = if is_first { point.max } else { self.max.max(point.max) };
        let counted = if kind == Kind::Histogram {
            let buckets = std::iter::once(&point.sum).chain(&cell.rest);
            self.buckets.resize(cell.rest.len() + 1, 0);
            for (total, more) in self.buckets.iter_mut().zip(buckets) {
                *total += i128::from(*more);
            }
            // The last column is the sum of durations.
            let observed = cell.rest.iter().rev().skip(1).map(|count| i128::from(*count)).sum::<i128>();
            observed + i128::from(point.sum)
        } else {
            i128::from(point.sum)
        };
        self.means += counted as f64 / f64::from(point.count);
    }

    fn value(&self, metric: &Metric, agg: Aggregate, bounds: &[f64]) -> Option<f64> {
        if self.slots == 0 {
            return None;
        }
        let (slot, scale) = (SLOT as f64, metric.scale());
        if metric.kind == Kind::Histogram {
            let (sum, buckets) = self.buckets.split_last()?;
            let observed: i128 = buckets.iter().sum();
            let sum = *sum as f64 / scale;
            return match (agg, agg.quantile()) {
                (_, Some(q)) => quantile(q, bounds, buckets),
                (Aggregate::Sum, _) => Some(sum),
                (Aggregate::Rate, _) => Some(self.means / slot),
                _ => (observed > 0).then(|| sum / observed as f64),
            };
        }
        // Of a counter, per second; of a gauge, as it is.
        let unit = if metric.kind == Kind::Counter { slot } else { scale };
        Some(match (agg, metric.kind) {
            (Aggregate::Min, _) => self.min as f64 / unit,
            (Aggregate::Max, _) => self.max as f64 / unit,
            (Aggregate::Sum, Kind::Counter) => self.sum as f64,
            (Aggregate::Sum | Aggregate::Rate, _) => self.means / unit,
            _ => self.sum as f64 / self.slots as f64 / unit,
        })
    }
}
