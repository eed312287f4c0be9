//! Every aggregate of every tier against a plain computation over a list of everything that was measured.

use super::{Dice, Rig, START, service};
use crate::handle::Views;
use myagent_core::series::TimeseriesView;
use myagent_core::view::{InstanceView, ServiceView};
use std::collections::BTreeMap;
use std::time::Duration;

/// What one instance (or service) said at one tick.
type Said = Vec<f64>;
/// By beginning of the slot, and then by service and instance.
type Measured = BTreeMap<i64, BTreeMap<Entity, Said>>;
type Entity = (String, Option<String>);
/// The slots of an interval by entity.
type Slots<'a> = BTreeMap<&'a Entity, Vec<&'a Said>>;

/// A metric, as somebody would read it who knows nothing of how it is stored.
struct Reference {
    metric: &'static str,
    kind: &'static str,
    read: fn(&ServiceView, Option<&InstanceView>) -> Option<Said>,
}

const REFERENCES: &[Reference] = &[
    Reference {
        metric: "messages_in",
        kind: "counter",
        read: |_, i| Some(vec![i?.totals.messages_in as f64]),
    },
    Reference { metric: "bytes_out", kind: "counter", read: |_, i| Some(vec![i?.totals.bytes_out as f64]) },
    Reference { metric: "restarts", kind: "counter", read: |_, i| Some(vec![f64::from(i?.restart_count)]) },
    Reference {
        metric: "turns_failed",
        kind: "counter",
        read: |s, i| i.is_none().then(|| vec![s.stats.session_totals.as_ref().unwrap().turns.failed as f64]),
    },
    Reference {
        metric: "active_connections",
        kind: "gauge",
        read: |_, i| Some(vec![f64::from(i?.active_connections)]),
    },
    Reference { metric: "cpu_percent", kind: "gauge", read: |_, i| Some(vec![i?.cpu_percent]) },
    Reference {
        metric: "up",
        kind: "gauge",
        read: |_, i| Some(vec![f64::from(i?.status.as_str() == "running")]),
    },
    Reference {
        metric: "turn_duration_seconds",
        kind: "histogram",
        read: |s, i| {
            if i.is_some() {
                return None;
            }
            let timing = &s.stats.session_totals.as_ref().unwrap().turns.duration;
            let mut said: Said = timing.buckets().map(|(_, count)| count as f64).collect();
            said.push(timing.sum.as_secs_f64());
            Some(said)
        },
    },
];

fn read(reference: &Reference, views: &Views) -> BTreeMap<Entity, Said> {
    let mut all = BTreeMap::new();
    for view in views.values() {
        for instance in view.instances.iter().map(Some).chain([None]) {
            if let Some(said) = (reference.read)(view, instance) {
                all.insert((view.name.clone(), instance.map(|instance| instance.name.clone())), said);
            }
        }
    }
    all
}

/// What the metric was worth in each slot: increments, or values. None of an increment: it is not known.
fn worth(reference: &Reference, measured: &Measured) -> Measured {
    let mut all = Measured::new();
    for (slot, entities) in measured {
        for (entity, said) in entities {
            let value = if reference.kind == "gauge" {
                Some(said.clone())
            } else {
                let before = measured.get(&(slot - 10)).and_then(|entities| entities.get(entity));
                before
                    .map(|before| said.iter().zip(before).map(|(now, then)| (now - then).max(0.0)).collect())
            };
            if let Some(value) = value {
                all.entry(*slot).or_default().insert(entity.clone(), value);
            }
        }
    }
    all
}

/// Linear within the bucket.
fn quantile(q: f64, counts: &[f64]) -> Option<f64> {
    const BOUNDS: [f64; 13] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 1800.0, 7200.0];
    let total: f64 = counts.iter().sum();
    if total == 0.0 {
        return None;
    }
    let mut below = 0.0;
    for (at, count) in counts.iter().enumerate() {
        if below + count >= q * total && *count > 0.0 {
            let lower = if at == 0 { 0.0 } else { BOUNDS[at - 1] };
            let upper = BOUNDS.get(at)?;
            return Some(lower + (upper - lower) * (q * total - below) / count);
        }
        below += count;
    }
    None
}

/// One value of the answer, from the slots of an interval by entity.
fn aggregate(kind: &str, agg: &str, entities: &BTreeMap<&Entity, Vec<&Said>>) -> Option<f64> {
    let slots: Vec<&Said> = entities.values().flatten().copied().collect();
    if slots.is_empty() {
        return None;
    }
    let column = |at: usize| slots.iter().map(|said| said[at]).sum::<f64>();
    if kind == "histogram" {
        let counts: Vec<f64> = (0..14).map(column).collect();
        let observed: f64 = counts.iter().sum();
        return match agg {
            "avg" => (observed > 0.0).then(|| column(14) / observed),
            "sum" => Some(column(14)),
            "rate" => {
                let rate = |slots: &Vec<&Said>| {
                    slots.iter().map(|said| said[..14].iter().sum::<f64>()).sum::<f64>()
                        / (slots.len() as f64 * 10.0)
                };
                Some(entities.values().map(rate).sum())
            }
            "p50" => quantile(0.5, &counts),
            "p90" => quantile(0.9, &counts),
            _ => quantile(0.99, &counts),
        };
    }
    let per = if kind == "counter" { 10.0 } else { 1.0 };
    let values = slots.iter().map(|said| said[0] / per);
    let mean = |slots: &Vec<&Said>| slots.iter().map(|said| said[0] / per).sum::<f64>() / slots.len() as f64;
    Some(match (agg, kind) {
        ("avg", _) => values.sum::<f64>() / slots.len() as f64,
        ("min", _) => values.fold(f64::INFINITY, f64::min),
        ("max", _) => values.fold(f64::NEG_INFINITY, f64::max),
        ("sum", "counter") => column(0),
        _ => entities.values().map(mean).sum(),
    })
}

fn check(answer: &TimeseriesView, kind: &str, agg: &str, group_by: &str, worth: &Measured) {
    let name = |entity: &Entity| match group_by {
        "none" => (None, None),
        "service" => (Some(entity.0.clone()), None),
        _ => (Some(entity.0.clone()), entity.1.clone()),
    };
    let mut groups: BTreeMap<_, BTreeMap<i64, Slots<'_>>> = BTreeMap::new();
    for (slot, entities) in worth.range(answer.from..answer.to) {
        let interval = slot - slot.rem_euclid(answer.interval_seconds);
        for (entity, said) in entities {
            let group = groups.entry(name(entity)).or_default().entry(interval).or_default();
            group.entry(entity).or_default().push(said);
        }
    }
    let what = format!("{} {agg} by {group_by} each {} s", answer.metric, answer.interval_seconds);
    assert_eq!(answer.series.len(), groups.len(), "{what}");
    let mut values = 0;
    for series in &answer.series {
        let expected = &groups[&(series.service.clone(), series.instance.clone())];
        assert_eq!(series.points.last().unwrap().0, answer.to - answer.interval_seconds, "{what}");
        assert_eq!(series.points[0].0, answer.from, "{what}");
        for (time, value) in &series.points {
            let expected = expected.get(time).and_then(|slots| aggregate(kind, agg, slots));
            let equal = match (value, expected) {
                (Some(value), Some(expected)) => (value - expected).abs() <= 1e-9 * expected.abs().max(1.0),
                (value, expected) => value.is_none() && expected.is_none(),
            };
            assert!(equal, "{what} at {time}: {value:?} is not {expected:?}");
            values += usize::from(value.is_some());
        }
    }
    assert!(values > 0, "{what}");
}

fn check_all(rig: &Rig, now: i64, measured: &BTreeMap<&str, Measured>, intervals: &[(&str, &str)]) {
    for reference in REFERENCES {
        let worth = worth(reference, &measured[reference.metric]);
        let aggs: &[&str] = match reference.kind {
            "gauge" => &["avg", "min", "max", "sum"],
            "counter" => &["avg", "min", "max", "sum", "rate"],
            _ => &["avg", "sum", "rate", "p50", "p90", "p99"],
        };
        let is_of_instances = (reference.read)(&rig.views["a"], Some(&rig.views["a"].instances[0])).is_some();
        for agg in aggs {
            for group_by in
                ["none", "service", "instance"].iter().filter(|by| is_of_instances || **by != "instance")
            {
                for (interval, from) in intervals {
                    let fields = [
                        ("metric", reference.metric),
                        ("agg", agg),
                        ("group_by", group_by),
                        ("interval", interval),
                        ("from", from),
                    ];
                    check(&rig.ask(now, &fields), reference.kind, agg, group_by, &worth);
                }
            }
        }
    }
}

/// Some traffic.
fn live(rig: &mut Rig, dice: &mut Dice) {
    for name in ["a", "b", "c"] {
        if !rig.views.contains_key(name) || (name == "b" && dice.roll(3) > 0) {
            continue;
        }
        rig.change(name, |view| {
            for instance in &mut view.instances {
                instance.totals.messages_in += dice.roll(20);
                instance.totals.bytes_out += dice.roll(100_000);
                instance.active_connections = dice.roll(50) as u32;
                instance.cpu_percent = dice.roll(1_000) as f64 / 10.0;
                instance.restart_count += u32::from(dice.roll(100) == 0);
            }
            let turns = &mut view.stats.session_totals.as_mut().unwrap().turns;
            turns.failed += dice.roll(2);
            for _ in 0..dice.roll(4) {
                turns.duration.record(Duration::from_millis(dice.roll(400_000)));
            }
        });
    }
}

#[test]
fn every_aggregate_of_every_tier_is_what_a_plain_computation_says() {
    let mut rig = Rig::new();
    let mut dice = Dice(42);
    rig.put(service("a", 1, 2));
    rig.put(service("b", 2, 1));
    let mut measured: BTreeMap<&str, Measured> = BTreeMap::new();
    let ticks = 5 * 360;
    for tick in 1..=ticks {
        let now = START + tick * 10;
        live(&mut rig, &mut dice);
        match tick {
            // A runner was killed and its last minute is lost; and a start by the user, from which restarts are counted.
            300 | 1_500 => rig.change("a", |view| {
                view.instances[0].totals.messages_in -= 35;
                view.instances[1].restart_count = 0;
            }),
            // The manager is restarted and misses nothing.
            500 => rig = rig.restart(false),
            // Registered, scaled up, scaled down, stopped.
            550 => rig.put(service("c", 3, 3)),
            600 => rig.change("a", |view| view.instances.push(super::instance("a", 2))),
            900 => rig.change("a", |view| drop(view.instances.pop())),
            1_000 => rig.change("b", |view| {
                view.instances[0].status = myagent_core::instance::InstanceState::Stopped
            }),
            // The manager is killed, and there is none for four minutes. The last minute goes with it.
            704 => {
                rig = rig.restart(true);
                for slots in measured.values_mut() {
                    slots.retain(|slot, _| *slot < now.div_euclid(60) * 60);
                }
            }
            _ => {}
        }
        // Nobody measures: no manager; the machine sleeps; a restart that takes a little longer.
        if (704..725).contains(&tick) || (1_100..1_142).contains(&tick) || (1_400..1_402).contains(&tick) {
            continue;
        }
        if tick == 1_402 {
            rig = rig.restart(false);
        }
        rig.tick(now + tick % 7);
        for reference in REFERENCES {
            let slots = measured.entry(reference.metric).or_default();
            slots.insert(now - 10, read(reference, &rig.views));
        }
    }
    // What the last hour has is in memory, the rest in the file.
    let now = START + ticks * 10 - 40;
    check_all(&rig, now + 43, &measured, &[("10s", "2h"), ("1h", "6h")]);
    rig = rig.restart(false);
    let intervals = [("10s", "5h"), ("1m", "6h"), ("1h", "6h"), ("90s", "6h")];
    check_all(&rig, now + 45, &measured, &intervals);
}
