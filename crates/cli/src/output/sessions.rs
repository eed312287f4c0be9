//! How sessions and turns look to people: what became of them, and how long they took. Pure.

use super::human::span;
use myagent_core::wire::sessions::{SessionTotals, Timing, TurnTotals};

/// Sessions as they are now, beside their sums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// With and without a client.
    pub(crate) active: u32,
    /// Without.
    pub(crate) detached: u32,
    /// Ever created.
    pub(crate) created: u64,
}

/// The facts about sessions and turns, one line each: name and value. What there was none of is left out.
pub(crate) fn facts(now: Now, totals: &SessionTotals) -> Vec<(&'static str, String)> {
    let mut facts = vec![("sessions", sessions(now, totals))];
    if totals.turns.accepted > 0 {
        facts.push(("turns", turns(&totals.turns)));
    }
    let times = [("responded in", &totals.turns.first_response), ("answered in", &totals.turns.duration)];
    facts.extend(times.into_iter().filter_map(|(name, times)| Some((name, timing(times)?))));
    facts
}

/// `3 active (1 without a client), 30 since registration: 26 completed, 1 failed; 12 min on average, 2 h at most`.
fn sessions(now: Now, totals: &SessionTotals) -> String {
    let Now { active, detached, created } = now;
    let detached = if detached > 0 { format!(" ({detached} without a client)") } else { String::new() };
    let ended = parts(&[(totals.completed, "completed"), (totals.failed, "failed")]);
    let ended = ended.map(|ended| format!(": {ended}")).unwrap_or_default();
    let lasted = timing(&totals.duration).map(|time| format!("; {time}")).unwrap_or_default();
    format!("{active} active{detached}, {created} since registration{ended}{lasted}")
}

/// `40 answered, 3 failed (2 by the agent, 1 with its process), 2 cancelled`.
fn turns(turns: &TurnTotals) -> String {
    let causes = parts(&[
        (turns.agent_error, "by the agent"),
        (turns.worker_lost, "with its process"),
        (turns.interrupted, "by a stop or restart"),
    ]);
    let causes = causes.map(|causes| format!(" ({causes})")).unwrap_or_default();
    let (answered, failed, cancelled) = (turns.completed, turns.failed, turns.cancelled);
    format!("{answered} answered, {failed} failed{causes}, {cancelled} cancelled")
}

/// `1.2 s on average, 9.0 s at most`; none if nothing was timed.
fn timing(timing: &Timing) -> Option<String> {
    Some(format!("{} on average, {} at most", span(timing.average()?), span(timing.max)))
}

/// What is not 0, with commas between; none if all is.
fn parts(numbers: &[(u64, &str)]) -> Option<String> {
    let some = numbers.iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = some.map(|(number, word)| format!("{number} {word}")).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use myagent_core::wire::sessions::{SessionEnd, TurnEnd};
    use std::time::Duration;

    #[test]
    fn what_there_was_none_of_is_left_out() {
        let facts = facts(Now { active: 0, detached: 0, created: 0 }, &SessionTotals::default());
        assert_eq!(facts, [("sessions", "0 active, 0 since registration".to_owned())]);
    }

    #[test]
    fn all_there_is_to_say() {
        let mut totals = SessionTotals::default();
        totals.ended(SessionEnd::Expired, false, Duration::from_mins(10));
        totals.ended(SessionEnd::Evicted, true, Duration::from_mins(20));
        for end in [TurnEnd::Completed, TurnEnd::AgentError, TurnEnd::WorkerLost, TurnEnd::Interrupted] {
            totals.turns.accepted += 1;
            totals.turns.ended(end, Duration::from_millis(2_250));
        }
        totals.turns.first_response.record(Duration::from_millis(340));
        let facts = facts(Now { active: 3, detached: 1, created: 7 }, &totals);
        let expected = [
            (
                "sessions",
                "3 active (1 without a client), 7 since registration: 1 completed, 1 failed; \
                 15 min on average, 20 min at most",
            ),
            (
                "turns",
                "1 answered, 3 failed (1 by the agent, 1 with its process, 1 by a stop or restart), 0 cancelled",
            ),
            ("responded in", "340 ms on average, 340 ms at most"),
            ("answered in", "2.2 s on average, 2.2 s at most"),
        ];
        assert_eq!(facts, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
