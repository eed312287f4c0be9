//! What the door knows of loads and requests decides who gets a client.

use crate::kit::*;
use myagent_core::routing::{PoolKind, RoutedInstance, RoutedService, RoutingSnapshot, Strategy};
use myagent_core::wire::handover::Refusal;
use myagent_proxy::{ProxyConfig, ProxyEvent};

fn tagged(name: &str, tags: &[&str], instance: &RoutedInstance) -> RoutedService {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    RoutedService { name: name.into(), tags, instances: vec![instance.clone()] }
}

#[tokio::test]
async fn an_instance_that_fails_five_clients_in_a_row_gets_no_more_and_nobody_notices() {
    let (mut bad, mut good) = (FakeRunner::start(1, 0), FakeRunner::start(1, 1));
    let snapshot = weather([bad.instance.clone(), good.instance.clone()]);
    let mut door = Door::open(ProxyConfig { threads: 2, ..one_thread() }, snapshot).await;
    let key = bad.instance.key;
    let (mut failed, mut served) = (0, 0);
    while failed < 5 {
        let mut client = door.client("/s/weather").await;
        let arrived = tokio::select! {
            arrived = bad.next() => {
                arrived.give_back(Refusal::ConnectFailed).await;
                failed += 1;
                assert_eq!(door.next_event().await, ProxyEvent::GivenBack { key, reason: Refusal::ConnectFailed });
                good.next().await
            }
            arrived = good.next() => arrived,
        };
        assert_connected(&mut client, &mut arrived.take().await).await;
        served += 1;
        assert!(served <= 10, "round robin asks it every second time");
    }
    assert_eq!(door.next_event().await, ProxyEvent::Ejected { key });
    for _ in 0..10 {
        let mut client = door.client("/s/weather").await;
        assert_connected(&mut client, &mut good.next().await.take().await).await;
    }
    assert!(bad.is_idle(), "it is ejected");

    // Another start of it is not, though it begins with a part of its share.
    let mut again = FakeRunner::start(1, 0);
    door.publish(weather([again.instance.clone(), good.instance.clone()]));
    let mut clients = Vec::new();
    loop {
        clients.push(door.client("/s/weather").await);
        let (is_new, arrived) = tokio::select! {
            arrived = again.next() => (true, arrived),
            arrived = good.next() => (false, arrived),
        };
        drop(arrived.take().await);
        if is_new {
            break;
        }
        assert!(clients.len() < 100, "the new start gets nobody");
    }
}

#[tokio::test]
async fn being_full_is_no_failure_and_the_last_one_stays() {
    let (mut full, mut other) = (FakeRunner::start(1, 0), FakeRunner::start(1, 1));
    let snapshot = weather([full.instance.clone(), other.instance.clone()]);
    let door = Door::open(one_thread(), snapshot).await;
    let mut asked = 0;
    for _ in 0..20 {
        let mut client = door.client("/s/weather").await;
        let arrived = tokio::select! {
            arrived = full.next() => {
                arrived.give_back(Refusal::Full).await;
                asked += 1;
                other.next().await
            }
            arrived = other.next() => arrived,
        };
        assert_connected(&mut client, &mut arrived.take().await).await;
    }
    assert!(asked > 5, "{asked}");
    door.publish(weather([other.instance.clone()]));
    for _ in 0..7 {
        let refusing = async { other.next().await.give_back(Refusal::UpstreamError).await };
        let ((_, code, _), ()) = tokio::join!(door.refusal("/s/weather"), refusing);
        assert_eq!(code, 1013);
    }
    let mut client = door.client("/s/weather").await;
    assert_connected(&mut client, &mut other.next().await.take().await).await;
}

#[tokio::test]
async fn tags_lead_to_the_services_that_have_all_of_them() {
    let (mut one, mut two) = (FakeRunner::start(1, 0), FakeRunner::start(2, 0));
    let services = vec![tagged("one", &["gpu"], &one.instance), tagged("two", &["gpu", "eu"], &two.instance)];
    let door = Door::open(one_thread(), RoutingSnapshot::new(services)).await;
    for _ in 0..4 {
        let mut client = door.client("/chat?tag=eu&tag=gpu").await;
        assert_connected(&mut client, &mut two.next().await.take().await).await;
    }
    assert!(one.is_idle());
    let _clients = [door.client("/?tag=gpu").await, door.client("/?tag=gpu").await];
    let _taken = [one.next().await.take().await, two.next().await.take().await];
    let (event, _, reason) = door.refusal("/?tag=mars").await;
    assert_eq!(reason, "no instance with the tags \"mars\" is running");
    assert_eq!(event["metadata"]["recoverable"], false);
}

#[tokio::test]
async fn the_snapshot_names_the_strategy_and_a_client_may_hint_at_another() {
    let (mut busy, mut free) = (FakeRunner::start(1, 0), FakeRunner::start(1, 1));
    let reported = RoutedInstance { places: 50, ..busy.instance.clone() };
    let services = |strategy| {
        let instances = vec![reported.clone(), free.instance.clone()];
        let service = RoutedService { name: "weather".into(), tags: Default::default(), instances };
        RoutingSnapshot::build(vec![service], Vec::new(), strategy, None)
    };
    let door = Door::open(one_thread(), services(Strategy::LeastConnections)).await;
    for _ in 0..6 {
        let mut client = door.client("/").await;
        let arrived = free.next().await;
        assert_eq!(arrived.offer.strategy, "least_connections");
        assert_eq!(arrived.offer.pool, Some(PoolKind::Default));
        assert_connected(&mut client, &mut arrived.take().await).await;
    }
    assert!(busy.is_idle());
    let _clients =
        [door.client("/?routing_hint=round_robin").await, door.client("/?routing_hint=round_robin").await];
    for arrived in [busy.next().await, free.next().await] {
        assert_eq!(arrived.offer.strategy, "round_robin");
    }
}

#[tokio::test]
async fn connections_count_before_a_runner_has_reported_them() {
    let (mut one, mut two) = (FakeRunner::start(1, 0), FakeRunner::start(1, 1));
    let heavy = RoutedInstance { places: 3, ..one.instance.clone() };
    let service = RoutedService {
        name: "weather".into(),
        tags: Default::default(),
        instances: vec![heavy, two.instance.clone()],
    };
    let snapshot = RoutingSnapshot::build(vec![service], Vec::new(), Strategy::LeastConnections, None);
    let door = Door::open(ProxyConfig { threads: 2, ..one_thread() }, snapshot).await;
    let mut held = Vec::new();
    // Nobody reports, so that a slow test would see counts forgotten: some of the rest must reach the first one then, too.
    loop {
        let client = door.client("/").await;
        let (is_first, arrived) = tokio::select! {
            arrived = one.next() => (true, arrived),
            arrived = two.next() => (false, arrived),
        };
        held.push((client, arrived.take().await));
        if is_first {
            break;
        }
        assert!(held.len() < 5000, "what was handed over does not count");
    }
    assert!(held.len() > 3, "{}", held.len());
}
