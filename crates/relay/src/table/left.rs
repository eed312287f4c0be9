//! Sessions whose client has gone and may come back to this agent, which alone has them in its memory. Told to a manager that
//! asks for everything: it may be a new one.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// The newest of them, bounded in number and age.
#[derive(Debug, Default)]
pub(super) struct Left {
    keep: Duration,
    max: usize,
    /// When each was left; the oldest first. One that was left twice is here twice.
    list: VecDeque<(Duration, Box<str>)>,
}

impl Left {
    pub(super) fn new(keep: Duration, max: usize) -> Self {
        Self { keep, max, list: VecDeque::new() }
    }

    pub(super) fn note(&mut self, session: &str, now: Duration) {
        if self.max == 0 {
            return;
        }
        self.forget_old(now);
        if self.list.len() >= self.max {
            self.list.pop_front();
        }
        self.list.push_back((now, session.into()));
    }

    pub(super) fn sessions(&mut self, now: Duration) -> Vec<String> {
        self.forget_old(now);
        let sessions: HashSet<&str> = self.list.iter().map(|(_, session)| &**session).collect();
        sessions.into_iter().map(str::to_owned).collect()
    }

    fn forget_old(&mut self, now: Duration) {
        while self.list.front().is_some_and(|(left, _)| now.saturating_sub(*left) > self.keep) {
            self.list.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_newest_are_kept_for_their_time() {
        let mut left = Left::new(at(10), 3);
        let check = |left: &mut Left, now, expected: &[&str]| {
            let mut sessions = left.sessions(at(now));
            sessions.sort_unstable();
            assert_eq!(sessions, expected);
        };
        for (session, now) in [("a", 0), ("b", 1), ("c", 2), ("d", 3), ("c", 4)] {
            left.note(session, at(now));
        }
        check(&mut left, 4, &["c", "d"]);
        check(&mut left, 13, &["c", "d"]);
        check(&mut left, 14, &["c"]);
        check(&mut left, 15, &[]);
        let mut none = Left::default();
        none.note("a", at(0));
        check(&mut none, 0, &[]);
    }
}
