//! What the front door counts, over all of its threads.

use crate::kit::*;
use myagent_core::front_door::{FrontDoorStats, Turned};
use myagent_core::routing::RoutingSnapshot;
use myagent_core::wire::handover::Refusal;
use myagent_proxy::{Limits, ProxyConfig};
use std::time::Duration;

/// How often clients were turned away for this.
fn turned(stats: &FrontDoorStats, why: Turned) -> u64 {
    stats.turned_away[why as usize]
}

#[tokio::test]
async fn who_is_handed_over_given_back_or_turned_away_is_counted() {
    let mut runner = FakeRunner::start(1, 0);
    let config = ProxyConfig { threads: 2, queue_size: 1, ..one_thread() };
    let door = Door::open(config, weather([runner.instance.clone()])).await;
    assert_eq!(door.proxy.stats().accepted, 0);

    let first = door.client("/s/weather").await;
    let taken = runner.next().await.take().await;
    let second = door.client("/s/weather").await;
    runner.next().await.give_back(Refusal::Full).await;
    let taken_later = runner.next().await.take().await;
    // A runner may have a client before the door has noted that.
    until("three were sent", || door.proxy.stats().handed_over == 3).await;
    let stats = door.proxy.stats();
    assert_eq!((stats.accepted, stats.hand_over.count()), (2, 3));
    assert_eq!((stats.given_back[Refusal::Full as usize], stats.given_back.iter().sum::<u64>()), (1, 1));
    assert_eq!(stats.turned_away.iter().sum::<u64>(), 0);
    assert!(stats.hand_over.sum < Duration::from_mins(1), "{:?}", stats.hand_over);

    assert!(door.answer("NONSENSE\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    let foreign =
        "GET / HTTP/1.1\r\nHost: h\r\nOrigin: https://elsewhere.example\r\nConnection: close\r\n\r\n";
    assert!(door.answer(foreign).await.starts_with("HTTP/1.1 403 "));
    door.refusal("/s/nobody").await;
    // Its own health is no client turned away, and a connection that is kept and then closed is none that left.
    assert!(
        door.answer("GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").await.starts_with("HTTP/1.1 200 ")
    );
    let stats = door.proxy.stats();
    for why in [Turned::BadRequest, Turned::Origin, Turned::NoInstance] {
        assert_eq!(turned(&stats, why), 1, "{why:?}: {stats:?}");
    }
    assert_eq!((stats.turned_away.iter().sum::<u64>(), stats.accepted, stats.left), (3, 6, 0));

    // One waits and leaves; while it waited, there was no room for another one.
    door.publish(weather([starting(&runner.instance)]));
    let waits = door.client("/s/weather").await;
    until("it waits", || door.proxy.waiting() == 1).await;
    door.refusal("/s/weather").await;
    drop(waits);
    until("it has left", || door.proxy.stats().left == 1).await;
    until("its place is free", || door.proxy.waiting() == 0).await;
    let stats = door.proxy.stats();
    assert_eq!(turned(&stats, Turned::QueueFull), 1, "{stats:?}");
    assert!((1..=2).contains(&stats.queue_wait.count()), "who was given back may have waited: {stats:?}");
    drop((first, second, taken, taken_later));
}

#[tokio::test]
async fn limits_and_vain_waits_have_reasons_of_their_own() {
    let runner = FakeRunner::start(1, 0);
    let limits = Limits { accept_rate: 1, ..Limits::default() };
    let short = Duration::from_millis(50);
    let config = ProxyConfig { limits, queue_timeout: short, head_timeout: short, ..one_thread() };
    let door = Door::open(config, weather([starting(&runner.instance)])).await;
    door.refusal("/s/weather").await;
    door.refusal("/s/weather").await;
    assert!(door.answer("GET / HT").await.starts_with("HTTP/1.1 408 "));
    let stats = door.proxy.stats();
    for why in [Turned::QueueTimeout, Turned::AcceptRate, Turned::HeadTimeout] {
        assert_eq!(turned(&stats, why), 1, "{why:?}: {stats:?}");
    }
    assert_eq!((stats.turned_away.iter().sum::<u64>(), stats.handed_over), (3, 0));
    assert!(stats.queue_wait.count() == 1 && stats.queue_wait.sum >= short, "{:?}", stats.queue_wait);
}

#[tokio::test]
async fn a_runner_that_cannot_be_reached_is_counted() {
    let runner = FakeRunner::start(1, 0);
    let instance = runner.instance.clone();
    runner.end().await;
    let door = Door::open(one_thread(), weather([instance])).await;
    door.refusal("/s/weather").await;
    let stats = door.proxy.stats();
    assert!(stats.unreached >= 1 && stats.handed_over == 0, "{stats:?}");
    drop(door);
    let door = Door::open(one_thread(), RoutingSnapshot::default()).await;
    assert_eq!(door.proxy.stats().unreached, 0);
}
