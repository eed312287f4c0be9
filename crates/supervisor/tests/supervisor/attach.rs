//! A new manager finds runners again, or finds that they are gone.

use crate::fake_runner::{FakeRunner, PATIENCE, service, stage, started, waiting_process};
use jiff::Timestamp;
use myagent_core::config::ServiceConfig;
use myagent_core::instance::{Exit, ExitCause, InstanceState};
use myagent_core::wire::control::{Answer, Phase, ProtocolRange, Request};
use myagent_supervisor::Command;
use tokio::time::timeout;

const CURRENT: ProtocolRange = ProtocolRange { min: 1, max: 1 };

fn quiet() -> ServiceConfig {
    ServiceConfig { health_check_enabled: false, ..ServiceConfig::default() }
}

#[tokio::test]
async fn a_runner_that_was_ready_is_running_at_once_with_its_restarts_and_stops_as_told() {
    let process = waiting_process();
    let (mut stage, listener) =
        stage(service("ws://127.0.0.1:1/", quiet()), &process, started(&process), true);
    // A build of before speaks an older version too.
    let mut runner = FakeRunner::answer(&listener, process, ProtocolRange { min: 0, max: 1 }).await;
    let observed = runner
        .serve_until(
            &Phase::Up,
            stage.until("running", |o| o.state == InstanceState::Running && o.agent_pid == Some(42)),
        )
        .await;
    assert!(observed.eligible && !observed.outdated);
    assert_eq!((observed.restarts, observed.runner.unwrap().pid), (2, runner.process.id()));
    assert!(stage.records.contains(&"instance.attached".to_owned()));

    assert!(stage.handle.send(Command::Stop { spread: std::time::Duration::ZERO }));
    let stop = runner.request(&Phase::Up).await;
    assert_eq!(stop.request, Request::Stop { grace: Some(10.0), spread: None, again: false });
    runner.reply(stop.id, Answer::Stopped { exit: None, survivors: vec![] }).await;
    // A runner ends when it has said so, and only then is the instance stopped.
    runner.kill();
    let observed = stage.until("stopped", |o| o.state == InstanceState::Stopped).await;
    assert_eq!((observed.commands_seen, observed.runner), (1, None));
}

#[tokio::test]
async fn processes_that_survive_a_stop_are_named() {
    let process = waiting_process();
    let (mut stage, listener) =
        stage(service("ws://127.0.0.1:1/", quiet()), &process, started(&process), true);
    let mut runner = FakeRunner::answer(&listener, process, CURRENT).await;
    stage.handle.send(Command::Stop { spread: std::time::Duration::ZERO });
    let stop = runner.request(&Phase::Up).await;
    runner.reply(stop.id, Answer::Stopped { exit: None, survivors: vec![77] }).await;
    let observed = stage.until("error", |o| o.state == InstanceState::Error).await;
    assert!(observed.error.unwrap().contains("process 77 survived KILL"));
}

#[tokio::test]
async fn a_runner_of_another_protocol_is_kept_without_new_clients_and_stopped_by_a_signal() {
    let process = waiting_process();
    let (mut stage, listener) =
        stage(service("ws://127.0.0.1:1/", quiet()), &process, started(&process), true);
    let mut runner = FakeRunner::answer(&listener, process, ProtocolRange { min: 7, max: 9 }).await;
    let observed = stage.until("outdated", |o| o.outdated).await;
    assert_eq!((observed.state, observed.eligible), (InstanceState::Running, false));
    stage.handle.send(Command::Stop { spread: std::time::Duration::ZERO });
    // TERM ends the process that plays the runner; what it left (nothing) is cleared.
    stage.until("stopped", |o| o.state == InstanceState::Stopped).await;
    assert!(runner.process.try_wait().unwrap().is_some());
}

#[tokio::test]
async fn an_agent_that_ended_while_no_manager_was_there_is_judged_and_its_runner_dismissed() {
    let process = waiting_process();
    let (mut stage, listener) =
        stage(service("ws://127.0.0.1:1/", quiet()), &process, started(&process), true);
    let mut runner = FakeRunner::answer(&listener, process, CURRENT).await;
    let exit = Exit { cause: ExitCause::Code { code: 3 }, at: Timestamp::UNIX_EPOCH };
    let exited = Phase::Exited { exit: exit.clone(), last_lines: vec!["boom".into()], survivors: vec![] };
    let dismiss = runner.request(&exited).await;
    assert_eq!(dismiss.request, Request::Dismiss);
    let observed = stage.until("waiting", |o| o.next_try.is_some()).await;
    assert_eq!((observed.last_exit, observed.last_lines), (Some(exit), vec!["boom".to_owned()]));
    assert_eq!((observed.restarts, observed.error.as_deref()), (3, Some("exit code 3")));
}

#[tokio::test]
async fn a_worker_that_its_runner_restarts_takes_the_instance_out_of_routing_meanwhile() {
    let process = waiting_process();
    let (mut stage, listener) =
        stage(service("ws://127.0.0.1:1/", quiet()), &process, started(&process), true);
    let mut runner = FakeRunner::answer(&listener, process, CURRENT).await;
    runner.serve_until(&Phase::Up, stage.until("running", |o| o.agent_pid.is_some())).await;
    let exit = Exit { cause: ExitCause::Signal { signal: 9 }, at: Timestamp::UNIX_EPOCH };
    let restarting = Phase::Restarting { next_try: Timestamp::UNIX_EPOCH, exit };
    let event =
        myagent_core::wire::control::RunnerEvent::Status(crate::fake_runner::status(restarting.clone()));
    runner.say(event).await;
    let observed = stage.until("restarting", |o| o.state == InstanceState::Starting).await;
    assert!(!observed.eligible && observed.may_become_eligible);
    assert_eq!(observed.error.as_deref(), Some("killed by signal 9 (KILL)"));
}

#[tokio::test]
async fn an_agent_that_has_ended_gets_no_more_clients_while_its_tree_is_cleared() {
    let process = waiting_process();
    let (mut stage, listener) =
        stage(service("ws://127.0.0.1:1/", quiet()), &process, started(&process), true);
    let mut runner = FakeRunner::answer(&listener, process, CURRENT).await;
    runner.serve_until(&Phase::Up, stage.until("eligible", |o| o.eligible && o.agent_pid.is_some())).await;
    let ended = crate::fake_runner::status(Phase::Stopping);
    runner.say(myagent_core::wire::control::RunnerEvent::Status(ended)).await;
    let observed = stage.until("out of routing", |o| !o.eligible).await;
    assert!(observed.may_become_eligible);
}

#[tokio::test]
async fn a_runner_that_dies_is_cleared_up_after_and_judged() {
    let process = waiting_process();
    let (mut stage, listener) =
        stage(service("ws://127.0.0.1:1/", quiet()), &process, started(&process), true);
    let mut runner = FakeRunner::answer(&listener, process, CURRENT).await;
    runner.serve_until(&Phase::Up, stage.until("running", |o| o.state == InstanceState::Running)).await;
    runner.kill();
    let observed = stage.until("waiting", |o| o.next_try.is_some()).await;
    assert_eq!(observed.error.as_deref(), Some("its runner process was lost"));
}

#[tokio::test]
async fn a_reused_pid_is_not_taken_for_the_runner_and_not_touched() {
    let mut bystander = waiting_process();
    let other_start = started(&bystander) + 1;
    let (mut stage, listener) = stage(service("ws://127.0.0.1:1/", quiet()), &bystander, other_start, true);
    let observed = stage.until("waiting", |o| o.next_try.is_some()).await;
    assert_eq!(observed.error.as_deref(), Some("its runner process was lost"));
    assert!(bystander.try_wait().unwrap().is_none(), "the bystander was killed");
    drop(listener);
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[tokio::test]
async fn letting_go_leaves_the_runner_alone() {
    let process = waiting_process();
    let (mut stage, listener) =
        stage(service("ws://127.0.0.1:1/", quiet()), &process, started(&process), true);
    let mut runner = FakeRunner::answer(&listener, process, CURRENT).await;
    runner.serve_until(&Phase::Up, stage.until("running", |o| o.state == InstanceState::Running)).await;
    stage.handle.send(Command::LetGo);
    stage.ended().await;
    // The connection ends (with an error, if it had not read all that was said); it was told neither to stop nor to end.
    while let Ok(Some(line)) = timeout(PATIENCE, runner.lines.next_line()).await.unwrap() {
        assert!(line.contains("status") || line.contains("full_report"), "{line}");
    }
    assert!(runner.process.try_wait().unwrap().is_none());
    assert!(stage.folder.path().exists());
}
