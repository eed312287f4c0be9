//! Clocks that jump, files that fail, services that go, and the manager around it.

use super::{FILE_LIMIT, Rig, START, Taken, instance, service, size};
use std::fs;

const SUM: &[(&str, &str)] =
    &[("metric", "messages_in"), ("agg", "sum"), ("interval", "10s"), ("from", "1m")];

fn count(rig: &mut Rig, name: &str, more: u64) {
    rig.change(name, |view| view.instances[0].totals.messages_in += more);
}

#[test]
fn a_restart_in_order_misses_nothing_and_a_kill_the_last_minute() {
    let mut rig = Rig::new();
    rig.put(service("a", 1, 1));
    for tick in 1..=9 {
        count(&mut rig, "a", tick);
        rig.tick(START + 10 * tick.cast_signed());
    }
    rig = rig.restart(false);
    count(&mut rig, "a", 10);
    rig.tick(START + 100);
    let values = rig.values(START + 100, SUM);
    assert_eq!(values, [5.0, 6.0, 7.0, 8.0, 9.0, 10.0].map(Some));
    // Killed: what was measured since the minute ended is gone, and the next increment is not known.
    rig = rig.restart(true);
    count(&mut rig, "a", 11);
    rig.tick(START + 110);
    count(&mut rig, "a", 12);
    rig.tick(START + 120);
    let values = rig.values(START + 120, SUM);
    assert_eq!(values, [Some(7.0), Some(8.0), Some(9.0), None, None, Some(12.0)]);
}

#[test]
fn the_last_of_a_manager_that_hands_over_is_not_lost_though_it_comes_late() {
    let mut rig = Rig::new();
    rig.put(service("a", 1, 1));
    for tick in 1..=8 {
        count(&mut rig, "a", tick);
        rig.tick(START + 10 * tick.cast_signed());
    }
    let statistics = super::Statistics::limited(rig.path(), FILE_LIMIT);
    let mut writer = super::Writer::new(std::sync::Arc::clone(&statistics));
    writer.open();
    rig.writer.flush(true);
    writer.look_again();
    (rig.statistics, rig.writer) = (statistics, writer);
    count(&mut rig, "a", 9);
    rig.tick(START + 90);
    assert_eq!(rig.values(START + 90, SUM), [4.0, 5.0, 6.0, 7.0, 8.0, 9.0].map(Some));
}

#[test]
fn what_is_new_is_counted_from_zero() {
    let mut rig = Rig::new();
    rig.put(service("a", 1, 1));
    rig.tick(START);
    let mut new = service("b", 2, 1);
    new.created_at = jiff::Timestamp::from_second(START + 4).unwrap();
    new.instances[0].totals.messages_in = 5;
    rig.put(new);
    rig.tick(START + 10);
    let values = rig.values(START + 10, &[SUM, &[("service", "b")]].concat());
    assert_eq!(values.last(), Some(&Some(5.0)));
}

#[test]
fn a_clock_that_goes_back_a_little_is_waited_for_and_nothing_is_measured_twice() {
    let mut rig = Rig::new();
    rig.put(service("a", 1, 1));
    rig.tick(START);
    assert_eq!((rig.tick(START + 10), rig.tick(START + 19)), (Taken::Measured, Taken::Again));
    for back in [START, START - 3_590, START + 15] {
        count(&mut rig, "a", 100);
        assert_eq!(rig.tick(back), Taken::Again);
    }
    assert_eq!(rig.tick(START + 20), Taken::Measured);
    assert_eq!(rig.values(START + 20, SUM)[4..], [Some(0.0), Some(300.0)]);
}

#[test]
fn a_clock_that_goes_back_far_is_believed_and_what_was_measured_stays() {
    let mut rig = Rig::new();
    rig.put(service("a", 1, 1));
    let run = |rig: &mut Rig, from: i64, ticks: i64, more: u64| {
        for tick in 0..ticks {
            count(rig, "a", more);
            let taken = rig.tick(from + 10 * tick);
            assert_eq!(taken != Taken::Measured, tick == 0 && from != START, "{taken:?}");
        }
    };
    // Two hours and a half, then back by two: half an hour is measured again, and then what was missing of it.
    run(&mut rig, START, 900, 1);
    let before = rig.values(START + 9_000, &[SUM, &[("from", "2h"), ("interval", "1m")]].concat());
    run(&mut rig, START + 1_800, 720 + 180, 7);
    rig = rig.restart(false);
    let now = START + 1_800 + 9_000;
    let query = |from: i64, to: i64, interval: &'static str| {
        let (from, to) = (from.to_string(), to.to_string());
        let fields =
            [("metric", "messages_in"), ("agg", "sum"), ("interval", interval), ("from", &from), ("to", &to)];
        rig.values(now, &fields)
    };
    for interval in ["1m", "10s"] {
        let points = query(START, START + 8_940, interval);
        let each = if interval == "1m" { 6.0 } else { 1.0 };
        assert!(points[60..].iter().all(|value| *value == Some(each)), "{points:?}");
    }
    assert!(before.iter().flatten().all(|value| *value <= 6.0));
    assert_eq!(query(START + 9_120, START + 10_200, "1m"), vec![Some(42.0); 18]);
    // Whole hours that were measured once are as they were.
    assert_eq!(query(START + 3_600, START + 7_200, "1h"), [Some(360.0)]);
}

#[test]
fn a_clock_that_was_far_in_the_future_does_not_cost_the_past() {
    let mut rig = Rig::new();
    rig.put(service("a", 1, 1));
    let year = 365 * 24 * 3_600;
    let mut now = START;
    let mut run = |rig: &mut Rig, by: i64, ticks: i64| {
        now += by;
        for _ in 0..ticks {
            now += 10;
            rig.tick(now);
        }
        now
    };
    run(&mut rig, 0, 400);
    run(&mut rig, 2 * year, 40);
    let now = run(&mut rig, -2 * year, 400);
    let up = |rig: &Rig, now: i64| {
        rig.values(now, &[("metric", "up"), ("interval", "1h"), ("from", "4h")]).into_iter().flatten().count()
    };
    assert!(up(&rig, now) >= 2);
    // What the wrong clock left is removed.
    let store = rig.statistics.store().unwrap();
    let future = myagent_core::series::Tier::Slots.window(START + 2 * year);
    let wanted = store.entities().unwrap().into_iter().collect();
    let mut found = 0;
    store
        .chunks(myagent_core::series::Tier::Slots, (future, future + 2), &wanted, |_, _, _| found += 1)
        .unwrap();
    assert_eq!(found, 0);
}

#[test]
fn of_many_series_the_largest_are_given_and_the_others_counted() {
    let mut rig = Rig::new();
    for (name, instances) in [("a", 1), ("b", 3), ("c", 2), ("d", 2)] {
        rig.put(service(name, u128::from(instances) * 10 + u128::from(name.as_bytes()[0]), instances));
    }
    for tick in 1..=30 {
        rig.tick(START + 10 * tick);
    }
    let ask = |top: &str| {
        let fields = [("metric", "up"), ("agg", "sum"), ("group_by", "service"), ("top", top)];
        let answer = rig.ask(START + 300, &fields);
        let names: Vec<_> = answer.series.into_iter().filter_map(|one| one.service).collect();
        (names.join(" "), answer.left_out)
    };
    assert_eq!(ask("1"), ("b".to_owned(), 3));
    assert_eq!(ask("3"), ("b c d".to_owned(), 1));
    assert_eq!(ask("9"), ("b c d a".to_owned(), 0));
}

#[test]
fn services_that_are_gone_take_their_past_with_them() {
    let mut rig = Rig::new();
    rig.put(service("a", 1, 1));
    rig.put(service("b", 2, 2));
    for tick in 1..=500 {
        rig.tick(START + 10 * tick);
    }
    assert_eq!(rig.statistics.store().unwrap().entities().unwrap().len(), 5);
    rig.views.remove("b");
    rig.tick(START + 5_040);
    assert_eq!(rig.statistics.store().unwrap().entities().unwrap().len(), 2);
    let answer = rig.ask(START + 5_040, &[("metric", "up"), ("group_by", "service"), ("from", "2h")]);
    assert_eq!(answer.series.iter().map(|one| one.service.as_deref()).collect::<Vec<_>>(), [Some("a")]);
    // Not even what was not in the file yet comes back.
    for tick in 505..=800 {
        rig.tick(START + 10 * tick);
    }
    assert_eq!(rig.statistics.store().unwrap().entities().unwrap().len(), 2);
    // The last one goes, too; and an instance that is gone stays in its service's past.
    rig.change("a", |view| view.instances.push(instance("a", 1)));
    for tick in 801..=1_200 {
        rig.tick(START + 10 * tick);
    }
    rig.change("a", |view| drop(view.instances.pop()));
    let answer = rig.ask(START + 12_000, &[("metric", "up"), ("group_by", "instance"), ("from", "2h")]);
    assert_eq!(answer.series.len(), 2);
    rig.views.clear();
    rig.tick(START + 12_060);
    assert!(rig.statistics.store().unwrap().entities().unwrap().is_empty());
}

#[test]
fn while_the_file_cannot_be_opened_memory_serves_and_then_all_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("metrics.db")).unwrap();
    let mut rig = Rig::with(dir, FILE_LIMIT);
    rig.put(service("a", 1, 1));
    for tick in 1..=400 {
        count(&mut rig, "a", 1);
        rig.tick(START + 10 * tick);
    }
    let query = [("metric", "messages_in"), ("agg", "sum"), ("interval", "1m"), ("from", "1h")];
    let answer = rig.ask(START + 4_000, &query);
    assert!(answer.warning.unwrap().contains("only what is in memory is shown"));
    assert_eq!(answer.series[0].points[5].1, Some(6.0));
    fs::remove_dir(rig.path()).unwrap();
    rig.tick(START + 4_020);
    let values = rig.values(START + 4_020, &query);
    assert_eq!(values[5], Some(6.0));
    rig = rig.restart(true);
    assert_eq!(rig.values(START + 4_020, &query)[5], Some(6.0));
}

#[test]
fn while_the_file_is_locked_memory_serves_and_then_all_is_stored() {
    let mut rig = Rig::new();
    rig.put(service("a", 1, 1));
    rig.tick(START);
    let (other, _) = myagent_store::SeriesStore::open(&rig.path(), FILE_LIMIT).unwrap();
    let key =
        other.entities().unwrap().first().copied().unwrap_or(myagent_core::series::EntityKey {
            service_id: rig.views["a"].service_id,
            index: None,
        });
    let chunk = myagent_store::ChunkRef { tier: myagent_core::series::Tier::Slots, window: 0, entity: key };
    other
        .change(&[chunk], 0, |_, _| {
            for tick in 1..=6 {
                count(&mut rig, "a", 1);
                rig.tick(START + 10 * tick);
            }
            None
        })
        .unwrap();
    rig.tick(START + 120);
    rig = rig.restart(true);
    assert_eq!(rig.values(START + 60, SUM), [Some(1.0); 6]);
}

#[test]
fn a_damaged_file_is_put_aside_and_what_memory_has_is_stored_in_a_new_one() {
    let mut rig = Rig::new();
    rig.put(service("a", 1, 1));
    for tick in 1..=6 {
        rig.tick(START + 10 * tick);
    }
    rig = rig.restart(true);
    let path = rig.path();
    let mut rig = rig.restart(true);
    // Under our hands.
    let mut bytes = fs::read(&path).unwrap();
    bytes[1_024..].fill(0xff);
    fs::write(&path, &bytes).unwrap();
    for tick in 7..=18 {
        count(&mut rig, "a", 1);
        rig.tick(START + 10 * tick);
    }
    assert!(path.with_file_name("metrics.db.damaged").exists());
    rig = rig.restart(true);
    assert_eq!(rig.values(START + 180, SUM), [Some(1.0); 6]);
}

#[test]
fn the_file_stays_within_its_limit_and_coarse_points_outlive_fine_ones() {
    // Of which eight are room for what SQLite keeps beside the file.
    let limit = 10 << 20;
    let mut rig = Rig::with(tempfile::tempdir().unwrap(), limit);
    let mut dice = super::Dice(7);
    let names: Vec<String> = (0..10).map(|number| format!("s{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        rig.put(service(name, number as u128, 1));
    }
    let mut now = START;
    for _ in 0..360 * 14 {
        now += 10;
        for name in &names {
            rig.change(name, |view| {
                let totals = &mut view.instances[0].totals;
                for counter in [
                    &mut totals.bytes_in,
                    &mut totals.bytes_out,
                    &mut totals.messages_in,
                    &mut totals.messages_out,
                    &mut totals.connections,
                    &mut totals.slow_clients,
                ] {
                    *counter += dice.roll(1 << 30);
                }
            });
        }
        rig.tick(now);
        assert!(size(&rig.path()) <= limit);
    }
    let oldest = |interval: &str| {
        let from = (START + 60).to_string();
        let to = (START + 3_600).to_string();
        let fields = [("metric", "bytes_in"), ("interval", interval), ("from", &from), ("to", &to)];
        rig.values(now, &fields).iter().flatten().count()
    };
    assert_eq!((oldest("10s"), oldest("1m")), (0, 59));
}
