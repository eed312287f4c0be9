//! A question about the past, and what it amounts to: which metric, how finely, from when to when.

use super::aggregate::{Aggregate, GroupBy};
use super::metric::{METRICS, Metric};
use super::{DAY, HOUR, SLOT, Tier};
use crate::error::FieldError;
use crate::suggest::nearest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Points of a series at most.
pub const MAX_POINTS: i64 = 2_000;
/// Series of an answer at most.
pub const MAX_SERIES: usize = 1_000;
/// Points of an answer before they are put together: a bound on memory.
pub const MAX_CELLS: i64 = 400_000;
/// Points of a series if no interval is given, at most: mostly there are some 300.
const USUAL_POINTS: i64 = 450;
/// Intervals that are chosen, seconds.
const NICE: [i64; 17] = [
    SLOT,
    20,
    30,
    60,
    120,
    300,
    600,
    900,
    1_800,
    HOUR,
    2 * HOUR,
    4 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
];

/// The question as it is asked, in a query string or on a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeseriesQuery {
    /// Name of the metric.
    pub metric: String,
    /// Only of this service, by name or id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only of this instance: `weather-0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// From when on: a time, seconds since 1970, or how long ago (`2h`); default an hour before `to`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until when, likewise; default now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Length of a point: seconds, or `30s`, `5m`, `1h`, `1d`; default such that there are about 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// How values become one; default `rate` for counters, `sum` for gauges, `avg` for histograms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agg: Option<String>,
    /// One series for each of what; default `none`, one in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// Only so many series, those with the largest values; default all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<usize>,
}

/// A question that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Of what.
    pub metric: &'static Metric,
    /// How values become one.
    pub agg: Aggregate,
    /// One series for each of what.
    pub group_by: GroupBy,
    /// Series at most, those with the largest values; none: all.
    pub top: Option<usize>,
    /// The points that are read.
    pub tier: Tier,
    /// Seconds of a point of the answer, a multiple of the tier's.
    pub interval: i64,
    /// Beginning of the first point, a multiple of the interval since 1970.
    pub from: i64,
    /// End of the last.
    pub to: i64,
}

impl Plan {
    /// Points of a series.
    pub fn points(&self) -> usize {
        usize::try_from((self.to - self.from) / self.interval).unwrap_or_default()
    }

    /// Whether the numbers of so many instances or services can be put together to so many series.
    pub fn check_size(&self, entities: usize, series: usize) -> Result<(), Vec<FieldError>> {
        if self.top.is_none() && series > MAX_SERIES {
            let message = format!(
                "gives {series} series, of at most {MAX_SERIES}; give a service or `top`, or use none"
            );
            return Err(vec![FieldError::new("group_by", message)]);
        }
        let most = MAX_CELLS / i64::try_from(entities.max(1)).unwrap_or(i64::MAX).min(MAX_CELLS);
        if (self.to - self.from) / self.interval > most {
            let least = nice((self.to - self.from).div_euclid(most) + 1);
            let message = format!(
                "gives {} points for each of {entities}, of at most {MAX_CELLS} together; use at least {least}, or give a service",
                self.points()
            );
            return Err(vec![FieldError::new("interval", message)]);
        }
        Ok(())
    }
}

impl TimeseriesQuery {
    /// What it amounts to at `now`; every field at fault is named.
    pub fn plan(&self, now: Timestamp) -> Result<Plan, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut fault = |field: &str, message: String| errors.push(FieldError::new(field, message));
        let now = now.as_second();
        let metric = Metric::named(&self.metric);
        if metric.is_none() {
            fault("metric", unknown_metric(&self.metric));
        }
        let agg = self.agg.as_deref().map(|word| choice(word, &Aggregate::ALL, Aggregate::as_str));
        let group_by = self.group_by.as_deref().map(|word| choice(word, &GroupBy::ALL, GroupBy::as_str));
        if let Some(Err(message)) = &agg {
            fault("agg", message.clone());
        }
        if let Some(Err(message)) = &group_by {
            fault("group_by", message.clone());
        }
        let (agg, group_by) = (agg.and_then(Result::ok), group_by.and_then(Result::ok).unwrap_or_default());
        if let Some(metric) = metric {
            if let Some(agg) = agg.filter(|agg| !agg.suits(metric.kind)) {
                fault("agg", unsuitable(agg, metric));
            }
            if !metric.per_instance && group_by == GroupBy::Instance {
                fault("group_by", format!("{} is kept for services; use service or none", metric.name));
            }
            if !metric.per_instance && self.instance.is_some() {
                fault("instance", format!("{} is kept for services; give a service", metric.name));
            }
        }
        if let Some(top) = self.top {
            if !(1..=MAX_SERIES).contains(&top) {
                fault("top", format!("must be between 1 and {MAX_SERIES}, not {top}"));
            } else if group_by == GroupBy::None {
                fault("top", "chooses from series; group by service or instance, or leave it out".to_owned());
            }
        }
        let to = self.to.as_deref().map_or(Ok(now), |text| moment(text, now));
        let from = self.from.as_deref().map(|text| moment(text, now));
        let interval = self.interval.as_deref().map(|text| {
            let seconds = duration(text).filter(|seconds| is_interval(*seconds));
            seconds.ok_or_else(|| INTERVALS.to_owned())
        });
        for (field, message) in [
            ("to", to.as_ref().err()),
            ("from", from.as_ref().and_then(|from| from.as_ref().err())),
            ("interval", interval.as_ref().and_then(|interval| interval.as_ref().err())),
        ] {
            if let Some(message) = message {
                fault(field, message.clone());
            }
        }
        let times = match (from.transpose(), to, interval.transpose()) {
            (Ok(from), Ok(to), Ok(interval)) => match choose(from, to, interval, now) {
                Ok(times) => Some(times),
                Err(error) => {
                    errors.push(error);
                    None
                }
            },
            _ => None,
        };
        match (metric, times) {
            (Some(metric), Some((tier, interval, from, to))) if errors.is_empty() => {
                let agg = agg.unwrap_or_else(|| Aggregate::usual(metric.kind));
                Ok(Plan { metric, agg, group_by, top: self.top, tier, interval, from, to })
            }
            _ => Err(errors),
        }
    }
}

const INTERVALS: &str =
    "must be a multiple of 10 seconds (of an hour beyond a day), at most 31d: 30s, 5m, 1h, 1d";

/// Longer ones of many short points would only cost memory.
fn is_interval(seconds: i64) -> bool {
    let unit = if seconds > DAY { HOUR } else { SLOT };
    (SLOT..=31 * DAY).contains(&seconds) && seconds % unit == 0
}

/// The tier, the interval, and the range in whole intervals.
fn choose(
    from: Option<i64>,
    to: i64,
    interval: Option<i64>,
    now: i64,
) -> Result<(Tier, i64, i64, i64), FieldError> {
    let to = to.min(now);
    // There is nothing older.
    let from = from.unwrap_or(to - HOUR).max(now - Tier::Hours.retention());
    if from >= to {
        return Err(FieldError::new("from", "must be before `to`, and in the past"));
    }
    let span = to - from;
    let reaches = |tier: Tier, interval: i64| from >= now - tier.retention() - interval;
    let interval = interval.unwrap_or_else(|| {
        let wanted = span.div_euclid(USUAL_POINTS).max(SLOT);
        let mut fitting = NICE.into_iter().filter(|nice| *nice >= wanted);
        fitting.find(|nice| reaches(coarsest(*nice), *nice)).unwrap_or(7 * DAY)
    });
    let tier = coarsest(interval);
    if !reaches(tier, interval) {
        let next = Tier::ALL.into_iter().find(|other| other.step() > tier.step());
        let message = format!(
            "must be a multiple of {} for what is more than {} ago, or give a later `from`",
            said(next.map_or(HOUR, Tier::step)),
            said(tier.retention())
        );
        return Err(FieldError::new("interval", message));
    }
    let from = from.div_euclid(interval) * interval;
    let to = (to + interval - 1).div_euclid(interval) * interval;
    let points = (to - from) / interval;
    if points > MAX_POINTS {
        let message = format!(
            "gives {points} points of at most {MAX_POINTS}; use at least {}, or a shorter range",
            nice(span.div_euclid(MAX_POINTS - 1) + 1)
        );
        return Err(FieldError::new("interval", message));
    }
    Ok((tier, interval, from, to))
}

/// The coarsest tier whose points make such intervals: all say the same, this one is read fastest and reaches back farthest.
fn coarsest(interval: i64) -> Tier {
    Tier::ALL.into_iter().rev().find(|tier| interval % tier.step() == 0).unwrap_or(Tier::Slots)
}

/// The first usual interval that is as long, as one writes it.
fn nice(seconds: i64) -> String {
    said(NICE.into_iter().find(|nice| *nice >= seconds).unwrap_or(7 * DAY))
}

fn said(seconds: i64) -> String {
    match seconds {
        _ if seconds % DAY == 0 => format!("{}d", seconds / DAY),
        _ if seconds % HOUR == 0 => format!("{}h", seconds / HOUR),
        _ if seconds % 60 == 0 => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

fn unknown_metric(name: &str) -> String {
    let known = || METRICS.iter().map(|metric| metric.name);
    match (name, nearest(name, known())) {
        ("", _) => format!("is missing; there are {}", known().collect::<Vec<_>>().join(", ")),
        (_, Some(near)) => format!("is unknown; did you mean {near}?"),
        _ => format!("is unknown; there are {}", known().collect::<Vec<_>>().join(", ")),
    }
}

fn unsuitable(agg: Aggregate, metric: &Metric) -> String {
    let suitable = Aggregate::ALL.into_iter().filter(|agg| agg.suits(metric.kind)).map(Aggregate::as_str);
    format!(
        "{} says nothing of {}; use {}",
        agg.as_str(),
        metric.name,
        suitable.collect::<Vec<_>>().join(", ")
    )
}

fn choice<T: Copy>(word: &str, all: &[T], as_str: impl Fn(T) -> &'static str) -> Result<T, String> {
    let found = all.iter().copied().find(|one| as_str(*one) == word);
    found.ok_or_else(|| {
        format!("must be one of {}", all.iter().map(|one| as_str(*one)).collect::<Vec<_>>().join(", "))
    })
}

/// A time, seconds since 1970, or how long ago.
fn moment(text: &str, now: i64) -> Result<i64, String> {
    const MESSAGE: &str =
        "must be a time as 2026-01-31T12:00:00Z, seconds since 1970, or how long ago: 30m, 2h, 7d";
    let seconds = match text.parse::<Timestamp>() {
        Ok(time) => Some(time.as_second()),
        Err(_) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Err(_) => duration(text).map(|ago| now - ago),
    };
    seconds.filter(|seconds| seconds.unsigned_abs() <= 1 << 40).ok_or_else(|| MESSAGE.to_owned())
}

/// Seconds, or a number of one unit.
fn duration(text: &str) -> Option<i64> {
    let (number, unit) =
        text.split_at_checked(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))?;
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => HOUR,
        "d" => DAY,
        _ => return None,
    };
    let seconds = number.parse::<i64>().ok()?.checked_mul(unit)?;
    (seconds <= 1 << 40).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn query(fields: &[(&str, &str)]) -> TimeseriesQuery {
        let json = |name: &str, value: &str| match name {
            "top" => value.parse::<usize>().unwrap().into(),
            _ => value.into(),
        };
        let map: serde_json::Map<_, _> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), json(name, value))).collect();
        serde_json::from_value(map.into()).unwrap()
    }

    fn plan(fields: &[(&str, &str)]) -> Result<Plan, String> {
        query(fields)
            .plan(Timestamp::from_second(NOW).unwrap())
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn the_usual_interval_gives_about_three_hundred_points_of_the_coarsest_tier_that_has_them() {
        let check = |from: &str, expected: (Tier, i64, usize)| {
            let plan = plan(&[("metric", "cpu_percent"), ("from", from)]).unwrap();
            assert_eq!((plan.tier, plan.interval, plan.points()), expected, "{from}");
            assert_eq!((plan.from % plan.interval, plan.to % plan.interval), (0, 0));
            assert!(plan.to >= NOW && plan.to < NOW + plan.interval);
        };
        check("10m", (Tier::Slots, 10, 60));
        check("1h", (Tier::Slots, 10, 360));
        check("2h", (Tier::Slots, 20, 360));
        check("1d", (Tier::Minutes, 300, 288));
        check("7d", (Tier::Minutes, 1_800, 336));
        check("30d", (Tier::Hours, 7_200, 360));
        check("365d", (Tier::Hours, DAY, 366));
        check("0", (Tier::Hours, DAY, 366));
        // Long ago and short: only hours reach back.
        let plan = plan(&[("metric", "up"), ("from", "21d"), ("to", "20d")]).unwrap();
        assert_eq!((plan.tier, plan.interval), (Tier::Hours, 3_600));
    }

    #[test]
    fn what_is_said_is_done() {
        let plan = plan(&[
            ("metric", "bytes_in"),
            ("from", "2027-01-15T07:00:05Z"),
            ("to", "1799999000"),
            ("interval", "1m"),
            ("agg", "max"),
            ("group_by", "instance"),
        ])
        .unwrap();
        assert_eq!(
            (plan.tier, plan.interval, plan.agg, plan.group_by),
            (Tier::Minutes, 60, Aggregate::Max, GroupBy::Instance)
        );
        assert_eq!((plan.from, plan.to), (1_799_996_400, 1_799_999_040));
        let usual = |metric| super::TimeseriesQuery { metric, ..Default::default() };
        for metric in METRICS {
            let plan = usual(metric.name.to_owned()).plan(Timestamp::from_second(NOW).unwrap()).unwrap();
            assert!(plan.agg.suits(metric.kind));
        }
    }

    #[test]
    fn every_field_at_fault_is_named_with_the_way_out() {
        let check = |fields: &[(&str, &str)], expected: &[&str]| {
            let said = plan(fields).unwrap_err();
            assert_eq!(said.lines().count(), expected.len(), "{said}");
            for (line, expected) in said.lines().zip(expected) {
                assert!(line.starts_with(expected), "{line} is not {expected}");
            }
        };
        check(&[], &["metric: is missing; there are connections_opened, "]);
        check(&[("metric", "cpu_percnt")], &["metric: is unknown; did you mean cpu_percent?"]);
        check(&[("metric", "zzzzzzzzzzzzzzzz")], &["metric: is unknown; there are "]);
        check(
            &[
                ("metric", "x"),
                ("from", "soon"),
                ("to", "-5"),
                ("interval", "15"),
                ("agg", "p95"),
                ("group_by", "tag"),
            ],
            &[
                "metric: ",
                "agg: must be one of avg, ",
                "group_by: must be one of none, ",
                "to: must be a time",
                "from: must",
                "interval: must be a multiple of 10 seconds",
            ],
        );
        check(
            &[("metric", "up"), ("agg", "rate")],
            &["agg: rate says nothing of up; use avg, min, max, sum"],
        );
        check(&[("metric", "up"), ("agg", "p50")], &["agg: "]);
        check(&[("metric", "turn_duration_seconds"), ("agg", "min")], &["agg: "]);
        check(
            &[("metric", "turns_failed"), ("group_by", "instance"), ("instance", "a-0")],
            &["group_by: turns_failed is kept for services; use service or none", "instance: "],
        );
        check(&[("metric", "up"), ("top", "5")], &["top: chooses from series; group by service"]);
        check(&[("metric", "up"), ("group_by", "service"), ("top", "0")], &["top: must be between 1 and"]);
        check(&[("metric", "up"), ("group_by", "service"), ("top", "1001")], &["top: must be between"]);
        check(&[("metric", "up"), ("from", "1h"), ("to", "2h")], &["from: must be before `to`"]);
        check(&[("metric", "up"), ("from", "1900000000")], &["from: "]);
        check(
            &[("metric", "up"), ("from", "7d"), ("interval", "10s")],
            &["interval: must be a multiple of 1m for what is more than 1d ago"],
        );
        check(
            &[("metric", "up"), ("from", "20d"), ("interval", "1m")],
            &["interval: must be a multiple of 1h for what is more than 14d ago"],
        );
        check(
            &[("metric", "up"), ("from", "1d"), ("interval", "30")],
            &["interval: gives 2880 points of at most 2000; use at least 1m"],
        );
        check(&[("metric", "up"), ("interval", "99999999999999999999d")], &["interval: "]);
        assert!(serde_json::from_str::<TimeseriesQuery>(r#"{"metric": "up", "colour": "red"}"#).is_err());
    }

    #[test]
    fn an_answer_has_bounds() {
        let plan = plan(&[("metric", "up"), ("from", "1h"), ("interval", "10")]).unwrap();
        assert_eq!((plan.check_size(1_000, 1_000), plan.check_size(0, 0)), (Ok(()), Ok(())));
        assert_eq!(plan.check_size(1_001, 1_001).unwrap_err()[0].field, "group_by");
        assert_eq!(Plan { top: Some(5), ..plan }.check_size(1_001, 1_001), Ok(()));
        let error = &plan.check_size(2_000, 1).unwrap_err()[0];
        assert_eq!(
            error.to_string(),
            "interval: gives 360 points for each of 2000, of at most 400000 together; use at least 20s, or give a service"
        );
    }
}
