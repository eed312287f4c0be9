//! Is the client still there? A ping after some silence; its pong is swallowed, so that the agent never sees an answer to a
//! question that it did not ask.

use crate::codec::{Mask, Opcode, write_frame};
use crate::scanner::{Scanner, Step};
use myagent_core::ConnectionId;
use std::time::Duration;
use tokio::time::Instant;

/// Silence of the client after which it is pinged.
pub(crate) const SILENCE: Duration = Duration::from_secs(25);
/// How long its answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How soon to try again when a frame of the agent is on the way to the client.
const RETRY: Duration = Duration::from_secs(1);
/// Length of the mark in our pings. It has the connection's id in it: a relay behind a relay has another one.
const MARK: usize = 16;
/// First byte of a pong: FIN and the opcode.
const PONG: u8 = 0x8a;

#[derive(Debug)]
pub(crate) struct Heartbeat {
    mark: [u8; MARK],
    last_heard: Instant,
    /// When the unanswered ping went out.
    pinged: Option<Instant>,
    /// No ping before this: a frame is on the way.
    not_before: Instant,
    /// A pong of ours may come.
    expecting: bool,
    /// The frame that is beginning is held back until it is known not to be ours.
    holding: bool,
    held: Vec<u8>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Nothing,
    /// Send [`Heartbeat::ping`] if the stream to the client stands between two frames, else [`Heartbeat::postpone`].
    Ping,
    /// The client has not answered.
    Dead,
}

impl Heartbeat {
    pub(crate) fn new(id: ConnectionId, now: Instant) -> Self {
        let mut mark = *b"myagent:\0\0\0\0\0\0\0\0";
        mark[8..].copy_from_slice(&id.0.as_bytes()[8..]);
        let held = Vec::new();
        Self { mark, last_heard: now, pinged: None, not_before: now, expecting: false, holding: false, held }
    }

    /// Bytes came from the client, or it cannot be heard because the agent does not read.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
        self.pinged = None;
    }

    /// When [`Heartbeat::check`] may have something to say.
    pub(crate) fn deadline(&self) -> Instant {
        match self.pinged {
            Some(pinged) => pinged + PATIENCE,
            None => (self.last_heard + SILENCE).max(self.not_before),
        }
    }

    pub(crate) fn check(&self, now: Instant) -> Beat {
        if now < self.deadline() {
            return Beat::Nothing;
        }
        match self.pinged {
            Some(_) => Beat::Dead,
            None => Beat::Ping,
        }
    }

    /// The ping to send now.
    pub(crate) fn ping(&mut self, now: Instant) -> Vec<u8> {
        self.pinged = Some(now);
        if !self.expecting && self.held.is_empty() {
            self.holding = false;
        }
        self.expecting = true;
        let mut out = Vec::new();
        write_frame(&mut out, Opcode::Ping, &self.mark);
        out
    }

    pub(crate) fn postpone(&mut self, now: Instant) {
        self.not_before = now + RETRY;
    }

    /// Whether what the client sends must go through [`Heartbeat::filter`].
    pub(crate) fn filters(&self) -> bool {
        self.expecting || !self.held.is_empty()
    }

    /// Whether the agent has seen the stream only up to the end of a frame although more has come.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Follows what the client sent; returns it without our pongs, and how many messages it has.
    pub(crate) fn filter(&mut self, scanner: &mut Scanner, bytes: &[u8]) -> (Vec<u8>, u64) {
        let (mut out, mut messages, mut at) = (Vec::with_capacity(bytes.len()), 0, 0);
        loop {
            self.holding |= scanner.at_boundary();
            let (used, step) = scanner.step(&bytes[at..]);
            let kept = if self.holding { &mut self.held } else { &mut out };
            kept.extend_from_slice(&bytes[at..at + used]);
            at += used;
            match step {
                Step::Header => {
                    messages += u64::from(scanner.is_last_of_message());
                    if self.holding && !(scanner.first_byte() == PONG && scanner.remaining() == MARK as u64) {
                        self.release(&mut out);
                    }
                }
                Step::End if self.holding && self.held_is_ours() => {
                    self.expecting = false;
                    self.release(&mut Vec::new());
                }
                Step::End => self.release(&mut out),
                Step::More => return (out, messages),
            }
        }
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.held = Vec::new();
        self.holding = false;
    }

    fn held_is_ours(&self) -> bool {
        let Some((key, payload)) = self.held.get(2..).and_then(<[u8]>::split_first_chunk::<4>) else {
            return false;
        };
        let mut payload = payload.to_vec();
        Mask::new(*key).apply(&mut payload);
        payload == self.mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::write_masked_frame;
    use proptest::prelude::*;

    fn heartbeat(now: Instant) -> Heartbeat {
        Heartbeat::new(ConnectionId(uuid::Uuid::from_u128(7)), now)
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_answered_with_a_ping_and_then_with_the_end() {
        let start = Instant::now();
        let mut heart = heartbeat(start);
        assert_eq!(heart.check(start + SILENCE - Duration::from_secs(1)), Beat::Nothing);
        heart.heard(start + Duration::from_secs(5));
        assert_eq!(heart.check(start + SILENCE), Beat::Nothing);
        let now = start + SILENCE + Duration::from_secs(5);
        assert_eq!(heart.check(now), Beat::Ping);
        heart.postpone(now);
        assert_eq!(heart.check(now), Beat::Nothing);
        let now = now + RETRY;
        assert_eq!(heart.check(now), Beat::Ping);
        assert_eq!(heart.ping(now)[..10], *b"\x89\x10myagent:");
        assert_eq!(heart.deadline(), now + PATIENCE);
        assert_eq!(heart.check(now + PATIENCE), Beat::Dead);
        heart.heard(now + Duration::from_secs(1));
        assert_eq!(heart.check(now + PATIENCE), Beat::Nothing);
        assert_eq!(heart.deadline(), now + Duration::from_secs(1) + SILENCE);
    }

    proptest! {
        #[test]
        fn only_our_pong_is_swallowed_in_any_split(
            before in 0..3_usize,
            after in 0..3_usize,
            start in any::<prop::sample::Index>(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let mut heart = heartbeat(Instant::now());
            let (mut rest, mut at) = (Vec::new(), 0);
            let key = [5, 6, 7, 8];
            for number in 0..before + after {
                write_masked_frame(&mut rest, Opcode::Text, b"some text", key);
                // Pongs of others, of our length and of another.
                write_masked_frame(&mut rest, Opcode::Pong, &[b'x'; 15][..number % 2 * 15], key);
                write_masked_frame(&mut rest, Opcode::Pong, &[b'y'; MARK], key);
                if number + 1 == before {
                    at = rest.len();
                }
            }
            let mut bytes = rest.clone();
            let mut pong = Vec::new();
            write_masked_frame(&mut pong, Opcode::Pong, &heart.mark, key);
            bytes.splice(at..at, pong);

            let mut scanner = Scanner::new();
            // The filter begins anywhere before the pong, also inside a frame.
            let start = start.index(at + 1);
            let mut messages = scanner.scan(&bytes[..start]);
            let mut out = bytes[..start].to_vec();
            heart.ping(Instant::now());
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| start + cut.index(bytes.len() - start + 1)).collect();
            cuts.extend([start, bytes.len()]);
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                let (passed, count) = heart.filter(&mut scanner, &bytes[pair[0]..pair[1]]);
                out.extend(passed);
                messages += count;
            }
            prop_assert_eq!(out, rest);
            prop_assert_eq!(messages, (before + after) as u64);
            prop_assert!(!heart.filters());
        }
    }
}
