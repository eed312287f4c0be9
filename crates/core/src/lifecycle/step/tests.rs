//! Tables of single steps, and properties of long runs.

use super::*;
use crate::instance::InstanceState;
use crate::restart;
use proptest::prelude::*;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn policy() -> Policy {
    Policy {
        restart: restart::Policy { auto_restart: true, delay: S, max_count: 3, retry_in_error: true },
        start_timeout: 60 * S,
        drain_timeout: 300 * S,
        external: false,
    }
}

fn at(state: State) -> Instance {
    Instance { state, ..Instance::default() }
}

/// One step at second 100: the new state, and the effects without their records.
fn step(state: State, event: Event) -> (State, Vec<Effect>) {
    let mut instance = at(state);
    let effects = instance.step(event, &policy(), 100 * S, 0.5);
    (instance.state, effects.into_iter().filter(|effect| !matches!(effect, Effect::Record { .. })).collect())
}

fn down(busy: bool) -> Event {
    Event::Down { busy, reason: "no pong".into() }
}

fn exited(code: i32) -> Event {
    Event::Exited { cause: ExitCause::Code { code } }
}

const STARTING: State = State::Starting { deadline: Duration::from_secs(160) };
const STOPPING: State = State::Stopping { then: Then::Stop };

#[test]
fn the_straight_life() {
    assert_eq!(step(State::Stopped, Event::Start), (State::Launching, vec![Effect::Launch]));
    let ready_at = vec![Effect::ProbeReady, Effect::WakeAt(160 * S)];
    assert_eq!(step(State::Launching, Event::Launched { ready: false }), (STARTING, ready_at.clone()));
    assert_eq!(
        step(State::Launching, Event::Launched { ready: true }),
        (State::Running, vec![Effect::ProbeHealth])
    );
    assert_eq!(step(STARTING, Event::Ready), (State::Running, vec![Effect::ProbeHealth]));
    assert_eq!(step(State::Running, Event::Stop), (STOPPING, vec![Effect::StopProbing, Effect::StopRunner]));
    assert_eq!(step(STOPPING, Event::Gone { survivors: vec![] }), (State::Stopped, vec![]));
    assert_eq!(step(State::Recovering, Event::WorkerUp), (STARTING, ready_at));
}

#[test]
fn a_stop_during_the_launch_waits_for_the_runner_and_stops_it() {
    assert_eq!(step(State::Launching, Event::Stop), (STOPPING, vec![]));
    assert_eq!(step(STOPPING, Event::Launched { ready: false }), (STOPPING, vec![Effect::StopRunner]));
    assert_eq!(step(STOPPING, Event::LaunchFailed { cause: "x".into() }), (State::Stopped, vec![]));
}

#[test]
fn a_start_during_the_stop_starts_again_and_a_second_stop_wins() {
    let then_launch = State::Stopping { then: Then::Launch };
    assert_eq!(step(STOPPING, Event::Start), (then_launch.clone(), vec![]));
    assert_eq!(step(then_launch.clone(), Event::Stop), (STOPPING, vec![]));
    assert_eq!(
        step(then_launch, Event::Gone { survivors: vec![] }),
        (State::Launching, vec![Effect::Launch])
    );
    assert_eq!(step(State::Stopped, Event::Restart), (State::Launching, vec![Effect::Launch]));
    assert_eq!(step(State::Running, Event::Restart).0, State::Stopping { then: Then::Launch });
}

fn draining(then: Then) -> State {
    State::Draining { then, deadline: 420 * S }
}

#[test]
fn one_that_is_being_found_again_leaves_when_it_is_found() {
    let leaving = || {
        let mut instance = at(State::Launching);
        assert_eq!(instance.step(Event::Leave { again: false }, &policy(), 100 * S, 0.5), vec![]);
        assert_eq!(instance.state, State::Launching);
        instance
    };
    for (event, then) in [
        (Event::Launched { ready: true }, draining(Then::Stop)),
        (Event::Launched { ready: false }, STOPPING),
        (Event::LaunchFailed { cause: "x".into() }, State::Stopped),
        (Event::RunnerLost, State::Clearing { then: Then::Stop }),
        (Event::Stop, STOPPING),
    ] {
        let mut instance = leaving();
        instance.step(event, &policy(), 100 * S, 0.5);
        assert_eq!(instance.state, then);
    }
    // The last word counts.
    let mut instance = leaving();
    instance.step(Event::Start, &policy(), 100 * S, 0.5);
    instance.step(Event::Launched { ready: true }, &policy(), 100 * S, 0.5);
    assert_eq!(instance.state, State::Running);
}

#[test]
fn clients_leave_before_it_is_stopped() {
    let effects = vec![Effect::StopProbing, Effect::WakeAt(420 * S), Effect::DrainRunner];
    for (again, then) in [(false, Then::Stop), (true, Then::Launch)] {
        for state in [State::Running, State::Unhealthy, State::Recovering] {
            assert_eq!(step(state, Event::Leave { again }), (draining(then), effects.clone()));
        }
        let stopping = (State::Stopping { then }, vec![Effect::StopProbing, Effect::StopRunner]);
        assert_eq!(step(draining(then), Event::Drained), stopping);
        // Whatever happens to it, it ends.
        assert_eq!(step(draining(then), exited(1)), stopping);
        assert_eq!(step(draining(then), Event::RunnerLost).0, State::Clearing { then });
        let late = State::Draining { then, deadline: 100 * S };
        assert_eq!(step(late, Event::Timer), stopping);
        assert_eq!(step(draining(then), Event::Timer), (draining(then), vec![Effect::WakeAt(420 * S)]));
        for event in [down(false), Event::Up, Event::WorkerUp, Event::WorkerDown { cause: "x".into() }] {
            assert_eq!(step(draining(then), event), (draining(then), vec![]));
        }
        // The last word counts.
        assert_eq!(step(draining(then), Event::Leave { again: false }), (draining(Then::Stop), vec![]));
        assert_eq!(step(draining(then), Event::Leave { again: true }), (draining(Then::Launch), vec![]));
        assert_eq!(step(draining(then), Event::Start), (draining(Then::Launch), vec![]));
        // Who does not want to wait for it does not.
        assert_eq!(step(draining(then), Event::Stop).0, STOPPING);
        assert_eq!(step(draining(then), Event::Restart).0, State::Stopping { then: Then::Launch });
    }
    // Where there are no clients there is nothing to wait for.
    assert_eq!(step(STARTING, Event::Leave { again: true }).0, State::Stopping { then: Then::Launch });
    assert_eq!(step(STARTING, Event::Leave { again: false }).0, STOPPING);
    assert_eq!(step(State::Stopped, Event::Leave { again: true }).0, State::Launching);
    assert_eq!(step(State::Stopped, Event::Leave { again: false }), (State::Stopped, vec![]));
    assert_eq!(step(State::Running, Event::Drained), (State::Running, vec![]));
}

#[test]
fn an_exit_is_judged_by_the_restart_policy() {
    let (state, effects) = step(State::Running, exited(1));
    assert_eq!(state, State::Waiting { until: 101 * S });
    assert_eq!(effects, [Effect::StopProbing, Effect::DismissRunner, Effect::WakeAt(101 * S)]);
    let mut instance = at(STARTING);
    instance.history.count = 3;
    instance.step(exited(7), &policy(), 100 * S, 0.5);
    assert_eq!(instance.state, State::Error { retry_at: Some(400 * S) });
    assert_eq!(instance.error.as_deref(), Some("exit code 7; gave up after 3 restarts in a row"));
    let mut off = policy();
    off.restart.auto_restart = false;
    let mut instance = at(State::Running);
    instance.step(exited(7), &off, 100 * S, 0.5);
    assert_eq!(instance.state, State::Error { retry_at: None });
    assert_eq!(instance.error.as_deref(), Some("exit code 7; auto_restart is off"));
}

#[test]
fn what_cannot_be_loaded_or_launched_is_an_error_at_once() {
    let error = State::Error { retry_at: Some(400 * S) };
    let load_failed = Event::Exited { cause: ExitCause::LoadFailed { message: "SyntaxError".into() } };
    assert_eq!(step(STARTING, load_failed).0, error);
    assert_eq!(
        step(State::Launching, Event::LaunchFailed { cause: "port 80 is in use".into() }),
        (error.clone(), vec![Effect::WakeAt(400 * S)])
    );
    let mut no_retry = policy();
    no_retry.restart.retry_in_error = false;
    let mut instance = at(State::Launching);
    instance.step(Event::LaunchFailed { cause: "x".into() }, &no_retry, 100 * S, 0.5);
    assert_eq!(instance.state, State::Error { retry_at: None });
    assert_eq!(step(error.clone(), Event::Start), (State::Launching, vec![Effect::Launch]));
    assert_eq!(step(error, Event::Stop), (State::Stopped, vec![]));
}

#[test]
fn a_start_that_takes_too_long_is_stopped_and_then_an_error() {
    let (state, effects) = step(State::Starting { deadline: 100 * S }, Event::Timer);
    assert_eq!(state, State::Stopping { then: Then::Error { retry_at: Some(400 * S) } });
    assert_eq!(effects, [Effect::StopProbing, Effect::StopRunner]);
    let mut instance = Instance { error: Some("not ready".into()), ..at(state) };
    instance.step(Event::Gone { survivors: vec![] }, &policy(), 100 * S, 0.5);
    assert_eq!(
        (instance.state, instance.error.as_deref()),
        (State::Error { retry_at: Some(400 * S) }, Some("not ready"))
    );
    assert_eq!(step(STARTING, Event::Timer), (STARTING, vec![Effect::WakeAt(160 * S)]));
    let external = Policy { external: true, ..policy() };
    let mut instance = at(State::Starting { deadline: S });
    assert!(instance.step(Event::Timer, &external, 100 * S, 0.5).contains(&Effect::ProbeHealth));
    assert_eq!(instance.state, State::Unhealthy);
}

#[test]
fn failing_checks_take_it_out_and_restart_it_only_if_it_is_not_busy() {
    assert_eq!(step(State::Running, down(false)), (State::Unhealthy, vec![]));
    assert_eq!(step(State::Running, down(true)), (State::Unhealthy, vec![]));
    assert_eq!(step(State::Unhealthy, down(true)), (State::Unhealthy, vec![]));
    assert_eq!(step(State::Unhealthy, down(false)).0, State::Stopping { then: Then::Wait(101 * S) });
    assert_eq!(step(State::Unhealthy, Event::Up), (State::Running, vec![]));
    let external = Policy { external: true, ..policy() };
    let mut instance = at(State::Unhealthy);
    instance.step(down(false), &external, 100 * S, 0.5);
    assert_eq!(instance.state, State::Unhealthy);
}

#[test]
fn a_lost_runner_is_cleared_up_after_before_anything_else() {
    let (state, effects) = step(State::Running, Event::RunnerLost);
    assert_eq!(
        (&state, effects),
        (&State::Clearing { then: Then::Judge }, vec![Effect::StopProbing, Effect::ClearLeftovers])
    );
    assert_eq!(step(state, Event::Cleared { survivors: vec![] }).0, State::Waiting { until: 101 * S });
    assert_eq!(step(STOPPING, Event::RunnerLost).0, State::Clearing { then: Then::Stop });
    assert_eq!(
        step(State::Clearing { then: Then::Stop }, Event::Cleared { survivors: vec![] }).0,
        State::Stopped
    );
    let mut instance = at(STOPPING);
    instance.step(Event::Gone { survivors: vec![7, 8] }, &policy(), 100 * S, 0.5);
    assert_eq!(instance.state, State::Error { retry_at: None });
    assert!(instance.error.unwrap().starts_with("process 7, 8 survived KILL"));
}

#[test]
fn a_worker_that_its_runner_restarts_counts_as_a_restart() {
    let mut instance = at(State::Running);
    instance.step(Event::WorkerDown { cause: "killed".into() }, &policy(), 100 * S, 0.5);
    assert_eq!((instance.state, instance.restarts), (State::Recovering, 1));
}

#[test]
fn people_see_six_words() {
    use InstanceState::{Error, Running, Starting, Stopped, Stopping, Unhealthy};
    for (state, shown) in [
        (State::Stopped, Stopped),
        (State::Launching, Starting),
        (STARTING, Starting),
        (State::Recovering, Starting),
        (State::Waiting { until: S }, Starting),
        (State::Clearing { then: Then::Judge }, Starting),
        (State::Clearing { then: Then::Stop }, Stopping),
        (State::Clearing { then: Then::Error { retry_at: None } }, Stopping),
        (STOPPING, Stopping),
        (draining(Then::Stop), Stopping),
        (draining(Then::Launch), Stopping),
        (State::Stopping { then: Then::Launch }, Starting),
        (State::Running, Running),
        (State::Unhealthy, Unhealthy),
        (State::Error { retry_at: None }, Error),
    ] {
        assert_eq!(state.shown(), shown, "{state:?}");
        assert_eq!(state.eligible(), shown == Running);
        assert_eq!(state.may_become_eligible(), matches!(shown, Starting | Unhealthy));
    }
    let wanted = |then| (draining(then).is_wanted(), State::Stopping { then }.is_wanted());
    assert_eq!((wanted(Then::Launch), wanted(Then::Stop)), ((true, true), (false, false)));
    assert!(State::Running.is_wanted() && !State::Stopped.is_wanted());
    assert_eq!(State::Waiting { until: S }.next_try(), Some(S));
    assert_eq!(State::Error { retry_at: None }.next_try(), None);
    assert_eq!(State::Running.next_try(), None);
    assert_eq!(Policy::of(&Default::default(), false), policy());
}

fn any_event() -> impl Strategy<Value = Event> {
    let survivors = prop_oneof![9 => Just(vec![]), 1 => Just(vec![4])];
    prop_oneof![
        Just(Event::Start),
        Just(Event::Stop),
        Just(Event::Restart),
        any::<bool>().prop_map(|again| Event::Leave { again }),
        Just(Event::Drained),
        any::<bool>().prop_map(|ready| Event::Launched { ready }),
        Just(Event::LaunchFailed { cause: "x".into() }),
        Just(Event::Ready),
        Just(Event::WorkerDown { cause: "x".into() }),
        Just(Event::WorkerUp),
        Just(exited(1)),
        Just(Event::Exited { cause: ExitCause::LoadFailed { message: "x".into() } }),
        Just(Event::RunnerLost),
        survivors.clone().prop_map(|survivors| Event::Cleared { survivors }),
        any::<bool>().prop_map(down),
        Just(Event::Up),
        survivors.prop_map(|survivors| Event::Gone { survivors }),
        Just(Event::Timer),
    ]
}

/// A helpful world: answers each effect as the supervisor does when all goes well.
fn settle(instance: &mut Instance, mut effects: Vec<Effect>, now: &mut Tick) {
    // Effects of before are lost here, so what the state is waiting for is answered from the state.
    for _ in 0..20 {
        effects.clear();
        let event = match &instance.state {
            State::Launching => Event::Launched { ready: false },
            State::Starting { .. } => Event::Ready,
            State::Recovering => Event::WorkerUp,
            State::Unhealthy => Event::Up,
            State::Waiting { until } => {
                *now = (*now).max(*until);
                Event::Timer
            }
            State::Clearing { .. } => Event::Cleared { survivors: vec![] },
            State::Draining { .. } => Event::Drained,
            State::Stopping { .. } => Event::Gone { survivors: vec![] },
            State::Stopped | State::Running | State::Error { .. } => return,
        };
        effects = instance.step(event, &policy(), *now, 0.5);
    }
}

proptest! {
    #[test]
    fn no_state_is_a_dead_end(events in proptest::collection::vec((any_event(), 0u64..400), 0..60)) {
        let mut now = Duration::ZERO;
        let mut instance = Instance::default();
        for (event, seconds) in events {
            now += Duration::from_secs(seconds);
            instance.step(event, &policy(), now, 0.5);
            let wakes = instance.state.next_try();
            prop_assert!(wakes.is_none_or(|at| at <= now + restart::RETRY_IN_ERROR));
        }
        let mut stopped = instance.clone();
        let effects = stopped.step(Event::Stop, &policy(), now, 0.5);
        settle(&mut stopped, effects, &mut now);
        prop_assert_eq!(&stopped.state, &State::Stopped);
        let effects = instance.step(Event::Start, &policy(), now, 0.5);
        settle(&mut instance, effects, &mut now);
        prop_assert_eq!(&instance.state, &State::Running);
    }

    #[test]
    fn every_waiting_state_has_its_timer(events in proptest::collection::vec((any_event(), 0u64..400), 0..60)) {
        let mut now = Duration::ZERO;
        let mut instance = Instance::default();
        for (event, seconds) in events {
            now += Duration::from_secs(seconds);
            let before = instance.state.clone();
            let effects = instance.step(event, &policy(), now, 0.5);
            let due = match &instance.state {
                State::Waiting { until }
                | State::Error { retry_at: Some(until) }
                | State::Draining { deadline: until, .. }
                | State::Starting { deadline: until } => Some(*until),
                _ => None,
            };
            let same_drain = matches!((&before, &instance.state),
                (State::Draining { deadline: one, .. }, State::Draining { deadline: two, .. }) if one == two);
            if instance.state != before && !same_drain && let Some(due) = due {
                prop_assert!(effects.contains(&Effect::WakeAt(due)), "{:?} -> {:?}", before, instance.state);
            }
            if instance.state == State::Launching && before != State::Launching {
                prop_assert!(effects.contains(&Effect::Launch));
            }
        }
    }
}

/// Lives a crash loop on simulated time: every start ends with exit code 3 half a second later.
#[test]
fn a_crash_loop_backs_off_gives_up_and_is_tried_again_later() {
    let half = Duration::from_millis(500);
    let mut now = Duration::ZERO;
    let mut instance = Instance::default();
    instance.step(Event::Start, &policy(), now, 0.5);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        instance.step(Event::Launched { ready: false }, &policy(), now, 0.5);
        now += half;
        instance.step(exited(3), &policy(), now, 0.5);
        let due = instance.state.next_try().expect("a next try");
        pauses.push(due.saturating_sub(now).as_secs());
        // Too early: nothing happens but that it is asked for again.
        assert_eq!(
            instance.step(Event::Timer, &policy(), due.saturating_sub(half), 0.5),
            [Effect::WakeAt(due)]
        );
        now = due;
        assert_eq!(instance.step(Event::Timer, &policy(), now, 0.5), [Effect::Launch]);
    }
    assert_eq!(pauses, [1, 2, 4, 300, 300, 300]);
    assert_eq!(instance.restarts, 3);
    assert_eq!(instance.error.as_deref(), Some("exit code 3; gave up after 3 restarts in a row"));
    // The user's start clears it all.
    instance.step(Event::Launched { ready: false }, &policy(), now, 0.5);
    instance.step(exited(3), &policy(), now, 0.5);
    instance.step(Event::Start, &policy(), now, 0.5);
    assert_eq!(instance, at(State::Launching));
}
