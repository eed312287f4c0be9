//! What it costs: size of the file, and time of the processor. Run with
//! `cargo test -p myagent-control --lib -- --ignored --nocapture what_statistics_cost`, optimised for honest times.

use super::{Dice, FILE_LIMIT, Rig, START, service, size};
use std::time::Duration;
use tokio::time::Instant;

/// A random walk of everything a busy instance counts.
fn be_busy(rig: &mut Rig, name: &str, dice: &mut Dice) {
    rig.change(name, |view| {
        let connections = dice.roll(5);
        let instance = &mut view.instances[0];
        let totals = &mut instance.totals;
        totals.connections += connections;
        totals.sessions += dice.roll(3);
        let messages = dice.roll(30);
        totals.messages_in += messages;
        totals.messages_out += messages * (5 + dice.roll(40));
        totals.bytes_in += messages * (50 + dice.roll(400));
        totals.bytes_out += messages * (2_000 + dice.roll(8_000));
        let walk = |value: u32, step: u64, dice: &mut Dice| {
            (value + dice.roll(2 * step + 1) as u32).saturating_sub(step as u32).min(200)
        };
        instance.active_connections = walk(instance.active_connections, 2, dice);
        instance.active_sessions = walk(instance.active_sessions, 2, dice);
        instance.detached_sessions = walk(instance.detached_sessions, 1, dice);
        instance.cpu_percent = f64::from(walk((instance.cpu_percent * 10.0) as u32, 30, dice)) / 10.0;
        instance.memory_mb =
            100.0 + f64::from(walk(((instance.memory_mb - 100.0) * 10.0) as u32, 5, dice)) / 10.0;
        let sums = view.stats.session_totals.as_mut().unwrap();
        sums.completed += dice.roll(3);
        sums.turns.completed += messages;
        for _ in 0..messages {
            sums.turns.first_response.record(Duration::from_millis(80 + dice.roll(3_000)));
            sums.turns.duration.record(Duration::from_millis(500 + dice.roll(30_000)));
        }
    });
}

/// Runs so many services of which the first are busy, for so long; returns bytes and time of a tick.
fn run(what: &str, services: u32, busy: u32, hours: i64) -> u64 {
    let mut rig = Rig::with(tempfile::tempdir().unwrap(), FILE_LIMIT);
    let mut dice = Dice(99);
    let names: Vec<String> = (0..services).map(|number| format!("service-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        rig.put(service(name, number as u128 + 1, 1));
    }
    let (mut measuring, mut longest, mut now) = (Duration::ZERO, Duration::ZERO, START);
    for _ in 0..hours * 360 {
        now += 10;
        for name in &names[..busy as usize] {
            be_busy(&mut rig, name, &mut dice);
        }
        let begun = Instant::now();
        rig.tick(now);
        measuring += begun.elapsed();
        longest = longest.max(begun.elapsed());
    }
    let ticks = hours * 360;
    let bytes = size(&rig.path());
    let begun = Instant::now();
    let query =
        [("metric", "turn_duration_seconds"), ("agg", "p90"), ("from", "1d"), ("group_by", "service")];
    let series = rig.ask(now, &query).series.len();
    println!(
        "{what}: {services} services, {busy} busy, {hours} h: {bytes} bytes; {:?} a tick ({:.3} % of a core), longest {longest:?}; \
         a question of a day, {series} series: {:?}",
        measuring / u32::try_from(ticks).unwrap(),
        measuring.as_secs_f64() / (ticks * 10) as f64 * 100.0,
        begun.elapsed()
    );
    let begun = Instant::now();
    let rig = rig.restart(false);
    println!("  opened again in {:?}, {} bytes", begun.elapsed(), size(&rig.path()));
    bytes
}

#[test]
#[ignore = "measures; a minute long"]
fn what_statistics_cost_in_three_hours() {
    run("three hours, a tenth busy", 500, 50, 3);
    run("three hours, all busy", 500, 500, 3);
}

#[test]
#[ignore = "measures; minutes long"]
fn what_statistics_cost() {
    run("a day, all idle", 500, 0, 24);
    run("a day, a tenth busy", 500, 50, 24);
    run("a day, all busy", 500, 500, 24);
}

#[test]
#[ignore = "measures; minutes long"]
fn what_statistics_cost_in_a_year() {
    // All tiers are full after a year; what is kept of one service is the same for each.
    run("a year, one idle", 1, 0, 24 * 366);
    run("a year, one busy", 1, 1, 24 * 366);
}
