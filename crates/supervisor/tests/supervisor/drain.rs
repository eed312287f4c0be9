//! An instance is stopped when its clients have left: the runner is asked to see to that, and not waited for without end.

use crate::fake_runner::{FakeRunner, Stage, service, stage, started, status, waiting_process};
use myagent_core::config::ServiceConfig;
use myagent_core::instance::InstanceState;
use myagent_core::wire::control::{Answer, Drained, Phase, ProtocolRange, Request, RunnerEvent};
use myagent_supervisor::{Command, Observed};

const CURRENT: ProtocolRange = ProtocolRange { min: 1, max: 1 };

fn config() -> ServiceConfig {
    ServiceConfig { health_check_enabled: false, drain_timeout: 7.5, ..ServiceConfig::default() }
}

fn drain() -> Request {
    Request::Drain { draining: true, window: Some(7.5) }
}

fn stop(again: bool) -> Request {
    Request::Stop { grace: Some(10.0), spread: None, again }
}

fn is_leaving(observed: &Observed) -> bool {
    observed.state == InstanceState::Stopping && !observed.eligible && !observed.may_become_eligible
}

/// An instance that an earlier manager had, whose runner speaks these versions.
async fn attached(speaks: ProtocolRange) -> (Stage, FakeRunner) {
    let process = waiting_process();
    let (stage, listener) = stage(service("ws://127.0.0.1:1/", config()), &process, started(&process), true);
    let runner = FakeRunner::answer(&listener, process, speaks).await;
    (stage, runner)
}

#[tokio::test]
async fn it_gets_no_clients_while_they_leave_and_is_stopped_then() {
    for again in [false, true] {
        let (mut stage, mut runner) = attached(CURRENT).await;
        runner.serve_until(&Phase::Up, stage.until("running", |o| o.agent_pid.is_some())).await;
        stage.handle.send(Command::Leave { again });
        let asked = runner.request(&Phase::Up).await;
        assert_eq!(asked.request, drain());
        runner.serve_until(&Phase::Up, stage.until("leaving", is_leaving)).await;
        // Its own word that it takes nobody is no news.
        let said = myagent_core::wire::control::Status { draining: true, ..status(Phase::Up) };
        runner.say(RunnerEvent::Status(said)).await;
        let drained = Drained { moved: 3, closed: 1, interrupted: 0 };
        runner.reply(asked.id, Answer::Drained(drained)).await;
        let asked = runner.request(&Phase::Up).await;
        assert_eq!(asked.request, stop(again));
        assert_eq!(stage.records.iter().filter(|kind| *kind == "instance.restarting").count(), 0);
        runner.reply(asked.id, Answer::Stopped { exit: None, survivors: vec![] }).await;
        runner.kill();
        // (There is nothing here that could be started again.)
        let end = if again { InstanceState::Error } else { InstanceState::Stopped };
        stage.until("the end", |o| o.state == end).await;
        assert!(stage.records.contains(&"instance.drained".to_owned()), "{:?}", stage.records);
    }
}

#[tokio::test]
async fn a_runner_of_the_version_before_is_stopped_as_before() {
    let (mut stage, mut runner) = attached(CURRENT).await;
    runner.serve_until(&Phase::Up, stage.until("running", |o| o.agent_pid.is_some())).await;
    stage.handle.send(Command::Leave { again: false });
    let asked = runner.request(&Phase::Up).await;
    assert_eq!(asked.request, drain());
    // It overlooks the window, and takes no more clients: that is all that it was asked.
    runner.reply(asked.id, Answer::Done).await;
    assert_eq!(runner.request(&Phase::Up).await.request, stop(false));
    assert!(!stage.records.contains(&"instance.drained".to_owned()));
}

#[tokio::test]
async fn one_that_cannot_be_asked_is_stopped_at_once() {
    let (mut stage, mut runner) = attached(ProtocolRange { min: 7, max: 9 }).await;
    stage.until("outdated", |o| o.outdated).await;
    stage.handle.send(Command::Leave { again: false });
    stage.until("stopped", |o| o.state == InstanceState::Stopped).await;
    assert!(runner.process.try_wait().unwrap().is_some());
}

#[tokio::test]
async fn who_is_told_to_stop_meanwhile_does_not_wait() {
    let (mut stage, mut runner) = attached(CURRENT).await;
    runner.serve_until(&Phase::Up, stage.until("running", |o| o.agent_pid.is_some())).await;
    stage.handle.send(Command::Leave { again: true });
    assert_eq!(runner.request(&Phase::Up).await.request, drain());
    stage.handle.send(Command::Stop { spread: std::time::Duration::from_millis(1500) });
    let asked = runner.request(&Phase::Up).await;
    assert_eq!(asked.request, Request::Stop { grace: Some(10.0), spread: Some(1.5), again: false });
    runner.reply(asked.id, Answer::Stopped { exit: None, survivors: vec![] }).await;
    runner.kill();
    stage.until("stopped", |o| o.state == InstanceState::Stopped).await;
}

#[tokio::test]
async fn what_another_manager_was_draining_is_restarted() {
    let (mut stage, mut runner) = attached(CURRENT).await;
    let said = myagent_core::wire::control::Status { draining: true, ..status(Phase::Up) };
    runner.say(RunnerEvent::Status(said)).await;
    // The runner knows that it was asked before, and answers when that is done.
    let asked = runner.request(&Phase::Up).await;
    assert_eq!(asked.request, drain());
    stage.until("leaving", is_leaving).await;
    assert!(stage.records.contains(&"instance.restarting".to_owned()));
    runner.reply(asked.id, Answer::Drained(Drained::default())).await;
    assert_eq!(runner.request(&Phase::Up).await.request, stop(true));
}

#[tokio::test]
async fn a_runner_that_dies_meanwhile_has_left_nothing_to_wait_for() {
    let (mut stage, mut runner) = attached(CURRENT).await;
    runner.serve_until(&Phase::Up, stage.until("running", |o| o.agent_pid.is_some())).await;
    stage.handle.send(Command::Leave { again: false });
    assert_eq!(runner.request(&Phase::Up).await.request, drain());
    runner.kill();
    stage.until("stopped", |o| o.state == InstanceState::Stopped).await;
}
