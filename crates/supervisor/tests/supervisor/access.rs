//! What the access log has of what a runner reports.

use crate::fake_runner::{FakeRunner, PATIENCE, service, stage, started, waiting_process};
use jiff::Timestamp;
use myagent_core::ConnectionId;
use myagent_core::config::ServiceConfig;
use myagent_core::instance::InstanceState;
use myagent_core::wire::control::{
    Answer, Closed, Connection, Phase, ProtocolRange, Report, Request, RunnerEvent,
};
use serde_json::Value;
use uuid::Uuid;

fn connection(number: u64) -> Connection {
    Connection {
        connection_id: ConnectionId(Uuid::from_u128(number.into())),
        session_id: None,
        client: "192.0.2.7:1".parse().unwrap(),
        user_agent: None,
        strategy: None,
        rule: None,
        pool: None,
        connected_at: Timestamp::UNIX_EPOCH,
        last_activity: Timestamp::UNIX_EPOCH,
        messages_in: number,
        messages_out: 0,
        bytes_in: 0,
        bytes_out: 0,
        moves: 0,
        events: false,
    }
}

fn closed(number: u64, moved: bool) -> Closed {
    let closed_at = Timestamp::UNIX_EPOCH;
    Closed { number, connection: connection(number), closed_at, code: 1000, reason: "bye".into(), moved }
}

#[tokio::test]
async fn each_connection_that_ends_is_one_line_also_when_it_is_reported_twice_or_its_runner_dies() {
    let process = waiting_process();
    let config = ServiceConfig { health_check_enabled: false, ..ServiceConfig::default() };
    let (mut stage, listener) =
        stage(service("ws://127.0.0.1:1/", config), &process, started(&process), true);
    let mut runner = FakeRunner::answer(&listener, process, ProtocolRange { min: 1, max: 1 }).await;
    runner.serve_until(&Phase::Up, stage.until("running", |o| o.state == InstanceState::Running)).await;
    // The second report repeats what was not acknowledged in time; one connection went on elsewhere, and one is open.
    for list in [vec![closed(1, false)], vec![closed(1, false), closed(2, true), closed(3, false)]] {
        let newest = list.last().unwrap().number;
        let report = Report { open: vec![connection(4)], closed: list, ..Report::default() };
        runner.say(RunnerEvent::Report(Box::new(report))).await;
        let request = runner.request(&Phase::Up).await;
        assert_eq!(request.request, Request::AckClosed { up_to: newest });
        runner.reply(request.id, Answer::Done).await;
    }
    runner.kill();
    stage.until("its end", |o| o.runner.is_none()).await;
    stage.access.flush(PATIENCE).await;
    let text = std::fs::read_to_string(stage.folder.path().join("access.log")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> =
        lines.iter().map(|line| (line["messages_in"].as_u64(), line["code"].as_u64())).collect();
    assert_eq!(seen, [(Some(1), Some(1000)), (Some(3), Some(1000)), (Some(4), Some(1006))], "{text}");
    assert_eq!(lines[0]["instance"], "legacy-0");
}
