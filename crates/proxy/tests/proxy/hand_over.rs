//! Who gets a client, and what happens when that runner cannot serve it.

use crate::kit::*;
use myagent_core::routing::{PoolKind, RoutingSnapshot};
use myagent_core::wire::handover::Refusal;
use myagent_proxy::{ProxyConfig, ProxyEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_client_arrives_with_its_head_and_what_came_behind_it() {
    let mut runner = FakeRunner::start(1, 0);
    let door = Door::open(one_thread(), weather([runner.instance.clone()])).await;
    let head = upgrade("/s/weather/ws?x=1");
    let mut client = door.raw(format!("{head}first frames").as_bytes()).await;

    let arrived = runner.next().await;
    assert_eq!(arrived.head, head);
    assert_eq!(arrived.rest, b"first frames");
    assert_eq!(arrived.offer.client, client.local_addr().unwrap());
    assert_eq!((arrived.offer.strategy.as_str(), arrived.offer.attempt), ("round_robin", 0));
    assert_eq!(arrived.offer.pool, Some(PoolKind::Service));
    let mut taken = arrived.take().await;
    assert_connected(&mut client, &mut taken).await;

    // The proxy holds no descriptor of it: the runner's close is the end.
    drop(taken);
    assert_eq!(within("the end", client.read(&mut [0; 8])).await.unwrap(), 0);
}

/// The runner need not be told, and the manager may die.
#[tokio::test]
async fn the_kernel_watches_clients_wherever_they_go() {
    use rustix::net::sockopt;
    let mut runner = FakeRunner::start(1, 0);
    let door = Door::open(one_thread(), weather([runner.instance.clone()])).await;
    let _client = door.client("/").await;
    let taken = runner.next().await.take().await;
    assert!(sockopt::tcp_nodelay(&taken).unwrap() && sockopt::socket_keepalive(&taken).unwrap());
    assert_eq!(sockopt::tcp_keepidle(&taken).unwrap().as_secs(), 30);
    assert_eq!(sockopt::tcp_user_timeout(&taken).unwrap(), 60_000);
}

#[tokio::test]
async fn a_conversation_outlives_the_proxy() {
    let mut runner = FakeRunner::start(1, 0);
    let door = Door::open(ProxyConfig::default(), weather([runner.instance.clone()])).await;
    let mut client = door.client("/").await;
    let mut taken = runner.next().await.take().await;
    within("the shutdown", door.proxy.shut_down(std::time::Duration::from_secs(5))).await;
    drop(door);
    assert_connected(&mut client, &mut taken).await;
}

#[tokio::test]
async fn round_robin_is_exact_over_all_threads() {
    let (mut one, mut two) = (FakeRunner::start(1, 0), FakeRunner::start(1, 1));
    let snapshot = weather([one.instance.clone(), two.instance.clone()]);
    let door = Door::open(ProxyConfig { threads: 4, ..ProxyConfig::default() }, snapshot).await;
    let (mut clients, mut taken) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        for _ in 0..2 {
            clients.push(door.client("/s/weather").await);
        }
        taken.push(one.next().await.take().await);
        taken.push(two.next().await.take().await);
    }
    assert!(one.is_idle() && two.is_idle());
}

#[tokio::test]
async fn the_next_runner_is_tried_and_three_in_all() {
    let mut runners: Vec<_> = (0..5).map(|index| FakeRunner::start(1, index)).collect();
    let snapshot = weather(runners.iter().map(|runner| runner.instance.clone()));
    let mut door = Door::open(one_thread(), snapshot).await;

    let refusing = async {
        let mut tried = Vec::new();
        for attempt in 0..3 {
            let (index, arrived) = first_offer(&mut runners, &tried).await;
            assert_eq!(arrived.offer.attempt, attempt);
            tried.push(index);
            arrived.give_back(Refusal::ConnectFailed).await;
        }
    };
    let ((event, code, reason), ()) = tokio::join!(door.refusal("/s/weather"), refusing);
    assert_eq!((code, reason.as_str()), (1013, "it is ConnectFailed"));
    assert_eq!(event["metadata"]["recoverable"], true);
    assert!(runners.iter_mut().all(FakeRunner::is_idle), "a fourth runner was tried");
    for _ in 0..3 {
        assert!(matches!(door.next_event().await, ProxyEvent::GivenBack { .. }));
    }
    let service = Some("weather".to_owned());
    assert_eq!(door.next_event().await, ProxyEvent::TurnedAway { reason, service });

    // Given back once, a client is served by the next one, with all its bytes.
    let head = upgrade("/s/weather");
    let mut client = door.raw(format!("{head}rest").as_bytes()).await;
    let (first, arrived) = first_offer(&mut runners, &[]).await;
    arrived.give_back(Refusal::Full).await;
    let (second, arrived) = first_offer(&mut runners, &[first]).await;
    assert_ne!(first, second);
    assert_eq!((arrived.head.as_str(), arrived.rest.as_slice()), (head.as_str(), b"rest".as_slice()));
    assert_connected(&mut client, &mut arrived.take().await).await;
}

/// The offer that one of the runners has got, other than those tried.
async fn first_offer(runners: &mut [FakeRunner], tried: &[usize]) -> (usize, Arrived) {
    let offers = runners
        .iter_mut()
        .enumerate()
        .filter(|(index, _)| !tried.contains(index))
        .map(|(index, runner)| Box::pin(async move { (index, runner.next().await) }));
    futures_util::future::select_all(offers).await.0
}

#[tokio::test]
async fn an_agent_that_answers_with_an_error_is_not_waited_for() {
    let mut runner = FakeRunner::start(1, 0);
    let door = Door::open(one_thread(), weather([runner.instance.clone()])).await;
    let refusing = async { runner.next().await.give_back(Refusal::UpstreamError).await };
    let ((_, code, reason), ()) = tokio::join!(door.refusal("/"), refusing);
    assert_eq!((code, reason.as_str()), (1013, "it is UpstreamError"));
    assert!(runner.is_idle());
}

#[tokio::test]
async fn a_client_given_back_after_it_was_taken_goes_to_another() {
    let (mut one, mut two) = (FakeRunner::start(1, 0), FakeRunner::start(1, 1));
    let door = Door::open(one_thread(), weather([one.instance.clone(), two.instance.clone()])).await;
    let mut client = door.client("/s/weather").await;
    let arrived = one.next().await;
    let again = arrived.duplicate();
    drop(arrived.take().await);
    again.give_back(Refusal::Draining).await;
    assert_connected(&mut client, &mut two.next().await.take().await).await;

    // Runners that all do so do not pass a client round for ever.
    let refusing = async {
        for attempt in 0..3 {
            let arrived = tokio::select! { arrived = one.next() => arrived, arrived = two.next() => arrived };
            assert_eq!(arrived.offer.attempt, attempt);
            let again = arrived.duplicate();
            drop(arrived.take().await);
            again.give_back(Refusal::Draining).await;
        }
    };
    let ((_, code, reason), ()) = tokio::join!(door.refusal("/"), refusing);
    assert_eq!((code, reason.as_str()), (1013, "it is Draining"));
    assert!(one.is_idle() && two.is_idle());
}

#[tokio::test]
async fn a_runner_that_is_not_there_costs_nothing() {
    let mut runner = FakeRunner::start(1, 1);
    let gone = FakeRunner::start(1, 0);
    let snapshot = weather([gone.instance.clone(), runner.instance.clone()]);
    gone.end().await;
    let door = Door::open(one_thread(), snapshot).await;
    for _ in 0..4 {
        let mut client = door.client("/").await;
        assert_connected(&mut client, &mut runner.next().await.take().await).await;
    }
}

#[tokio::test]
async fn a_silent_runner_gets_no_more_until_it_answers() {
    let (mut silent, mut other) = (FakeRunner::start(1, 0), FakeRunner::start(1, 1));
    let snapshot = weather([silent.instance.clone(), other.instance.clone()]);
    let mut door = Door::open(one_thread(), snapshot).await;
    let mut stuck = door.client("/").await;
    let unanswered = silent.next().await;
    assert_eq!(door.next_event().await, ProxyEvent::RunnerSilent { key: silent.instance.key });
    for _ in 0..4 {
        let mut client = door.client("/").await;
        assert_connected(&mut client, &mut other.next().await.take().await).await;
    }
    assert!(silent.is_idle());
    // It answers at last, and the client that it had all the time is served.
    assert_connected(&mut stuck, &mut unanswered.take().await).await;
    assert_eq!(door.next_event().await, ProxyEvent::RunnerAnswers { key: silent.instance.key });
    let _clients = [door.client("/").await, door.client("/").await];
    let _taken = [silent.next().await.take().await, other.next().await.take().await];
}

#[tokio::test]
async fn the_last_snapshot_stays_in_force_without_a_control_plane() {
    let mut runner = FakeRunner::start(1, 0);
    let Door { proxy, address, snapshot, events, .. } =
        Door::open(one_thread(), weather([runner.instance.clone()])).await;
    drop((snapshot, events));
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    client.write_all(upgrade("/").as_bytes()).await.unwrap();
    assert_connected(&mut client, &mut runner.next().await.take().await).await;
    let mut refused = tokio::net::TcpStream::connect(address).await.unwrap();
    refused.write_all(upgrade("/s/nobody").as_bytes()).await.unwrap();
    until("the lost event is counted", || proxy.events_dropped() > 0).await;
}

#[tokio::test]
async fn who_is_gone_from_the_snapshot_gets_nobody() {
    let mut old = FakeRunner::start(1, 0);
    let mut new = FakeRunner::start(1, 0);
    let door = Door::open(one_thread(), weather([old.instance.clone()])).await;
    let mut client = door.client("/").await;
    assert_connected(&mut client, &mut old.next().await.take().await).await;
    door.publish(RoutingSnapshot::default());
    door.publish(weather([new.instance.clone()]));
    // The threads take a new snapshot over in their own time; from the first client of the new one on it is in force.
    loop {
        let mut client = door.client("/").await;
        let (is_new, arrived) = tokio::select! {
            arrived = new.next() => (true, arrived),
            arrived = old.next() => (false, arrived),
        };
        assert_connected(&mut client, &mut arrived.take().await).await;
        if is_new {
            break;
        }
    }
    for _ in 0..4 {
        let mut client = door.client("/").await;
        assert_connected(&mut client, &mut new.next().await.take().await).await;
    }
    assert!(old.is_idle());
}
