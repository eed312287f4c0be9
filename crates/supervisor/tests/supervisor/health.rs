//! Checks that fail take an instance out of routing; a client that is served keeps it from being restarted.

use crate::fake_runner::{FakeRunner, deaf_listener, service, stage, started, status, waiting_process};
use myagent_core::config::ServiceConfig;
use myagent_core::health::Health;
use myagent_core::instance::InstanceState;
use myagent_core::service::Source;
use myagent_core::wire::control::{Phase, ProtocolRange, Report, Request, RunnerEvent};
use myagent_supervisor::{Command, Wanted};
use std::sync::Arc;
use tokio::sync::oneshot;

const CURRENT: ProtocolRange = ProtocolRange { min: 1, max: 1 };

fn eager() -> ServiceConfig {
    ServiceConfig {
        health_check_interval: 0.1,
        health_check_timeout: 0.1,
        restart_delay: 60.0,
        start_timeout: 1.0,
        ..ServiceConfig::default()
    }
}

#[tokio::test]
async fn a_deaf_endpoint_is_unhealthy_and_never_restarted() {
    let (_listener, url) = deaf_listener().await;
    let process = waiting_process();
    let (mut stage, listener) = stage(service(&url, eager()), &process, started(&process), true);
    let mut runner = FakeRunner::answer(&listener, process, CURRENT).await;
    let unhealthy =
        stage.until("unhealthy", |o| o.state == InstanceState::Unhealthy && o.health == Health::Unhealthy);
    let observed = runner.serve_until(&Phase::Up, unhealthy).await;
    assert!(!observed.eligible);
    assert!(observed.error.unwrap().contains("no answer within 0.1 s"));
    let (answer, check) = oneshot::channel();
    stage.handle.send(Command::CheckHealth(answer));
    let check = runner.serve_until(&Phase::Up, check).await.unwrap();
    assert!(check.failure.is_some());
}

#[tokio::test]
async fn how_often_health_is_checked_changes_while_it_runs() {
    let (_listener, url) = deaf_listener().await;
    let process = waiting_process();
    let rare = ServiceConfig { health_check_interval: 3600.0, ..eager() };
    let (mut stage, listener) = stage(service(&url, rare), &process, started(&process), true);
    let mut runner = FakeRunner::answer(&listener, process, CURRENT).await;
    let running = stage.until("running", |o| o.state == InstanceState::Running);
    runner.serve_until(&Phase::Up, running).await;
    // Whom to ask is as it was at the start: nobody is at the new address, which would be found out sooner.
    let changed = service("ws://127.0.0.1:1/", eager());
    let wanted = Wanted { service: Arc::new(changed), secrets: Arc::default(), index: 0 };
    assert!(stage.handle.send(Command::Configure(wanted)));
    let unhealthy = stage.until("unhealthy", |o| o.state == InstanceState::Unhealthy);
    let observed = runner.serve_until(&Phase::Up, unhealthy).await;
    assert!(observed.error.unwrap().contains("no answer within 0.1 s"));
}

#[tokio::test]
async fn a_program_that_hangs_is_restarted_unless_it_is_busy() {
    // The probe goes to the port of the record, which has none here: refused is as good as deaf.
    let mut deaf = service("ws://unused/", eager());
    deaf.source = Source::Command { argv: vec!["/bin/true".into()], cwd: None, path: None };
    let process = waiting_process();
    let (mut stage, listener) = stage(deaf, &process, started(&process), true);
    let mut runner = FakeRunner::answer(&listener, process, CURRENT).await;
    let mut busy = status(Phase::Up);
    busy.busy = true;
    runner.say(RunnerEvent::Status(busy.clone())).await;
    runner
        .say(RunnerEvent::Report(Box::new(Report { busy: true, active_connections: 1, ..Report::default() })))
        .await;
    // As long as it says that it is busy, it is only taken out of routing.
    let mut checks = 0;
    while checks < 8 {
        let line = runner.lines.next_line().await.unwrap().unwrap();
        let line: myagent_core::wire::control::RequestLine = serde_json::from_str(&line).unwrap();
        match line.request {
            Request::Status => {
                checks += 1;
                runner.reply(line.id, myagent_core::wire::control::Answer::Status(busy.clone())).await;
            }
            Request::FullReport => {}
            other => panic!("busy, and yet: {other:?}"),
        }
    }
    stage.until("unhealthy", |o| o.state == InstanceState::Unhealthy && o.report.busy).await;
    // It is idle now, and still hangs.
    runner.say(RunnerEvent::Status(status(Phase::Up))).await;
    let stop = runner.request(&Phase::Up).await;
    assert!(matches!(stop.request, Request::Stop { .. }), "{stop:?}");
}

#[tokio::test]
async fn an_endpoint_that_never_becomes_ready_is_unhealthy() {
    let (_listener, url) = deaf_listener().await;
    let process = waiting_process();
    let (mut external, listener) = stage(service(&url, eager()), &process, started(&process), false);
    let mut runner = FakeRunner::answer(&listener, process, CURRENT).await;
    let unhealthy = external.until("unhealthy", |o| o.state == InstanceState::Unhealthy);
    let observed = runner.serve_until(&Phase::Up, unhealthy).await;
    assert!(observed.error.unwrap().starts_with("not ready within start_timeout=1 s"));
}

#[tokio::test]
async fn a_runner_that_says_nothing_any_more_is_killed_and_cleared_up_after() {
    let (_listener, url) = deaf_listener().await;
    let process = waiting_process();
    let (mut stage, listener) = stage(service(&url, eager()), &process, started(&process), true);
    let mut runner = FakeRunner::answer(&listener, process, CURRENT).await;
    // It never answers another line; a busy one is not spared either: its clients hang with it.
    let observed = stage.until("lost", |o| o.error.as_deref() == Some("its runner process was lost")).await;
    assert!(!observed.eligible);
    assert!(stage.records.contains(&"instance.runner_hangs".to_owned()), "{:?}", stage.records);
    assert!(runner.process.try_wait().unwrap().is_some());
}
