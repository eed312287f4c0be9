//! The control socket: JSON lines, requests from the manager, answers and events from the runner.
//!
//! The first line each side sends is a [`Hello`] with the range of protocol versions it speaks; the highest common one
//! counts. The range is N and N-1, so that a new manager can still talk to the runners of the old one.

use crate::ids::{ConnectionId, ServiceId, StartId};
use crate::instance::Exit;
use crate::routing::PoolKind;
use crate::wire::sessions::SessionTotals;
use crate::wire::sums::{Sums, Totals, Traffic};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a runner waits for the end of a connection that it was asked to close.
pub const CLOSES_WITHIN: Duration = Duration::from_secs(2);

/// The versions that this build speaks.
pub const PROTOCOL: ProtocolRange = ProtocolRange { min: 1, max: 1 };

/// A range of protocol versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtocolRange {
    /// Oldest spoken.
    pub min: u32,
    /// Newest spoken.
    pub max: u32,
}

impl ProtocolRange {
    /// The highest version that both speak.
    pub fn common(self, other: Self) -> Option<u32> {
        let version = self.max.min(other.max);
        (version >= self.min && version >= other.min).then_some(version)
    }
}

/// The first line in each direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Versions spoken.
    pub protocol: ProtocolRange,
    /// Version of the program.
    pub version: String,
    /// Process of the sender.
    pub pid: u32,
}

/// A line from the manager.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestLine {
    /// Repeated in the answer.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// What a manager can ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Who and how are you? Answer: [`Answer::Status`].
    Status,
    /// Everything about connections, from the start: answer [`Answer::Report`] with all open ones.
    FullReport,
    /// Closed records up to this number are stored; forget them. Answer: done.
    AckClosed {
        /// [`Closed::number`] of the newest one.
        up_to: u64,
    },
    /// Close one connection. Answer: [`Answer::Disconnected`] when it is closed, at the latest after [`CLOSES_WITHIN`]; an
    /// error if it is not here.
    Disconnect {
        /// Which.
        connection_id: ConnectionId,
        /// WebSocket close code; 1006: without a close frame.
        code: u16,
        /// Close reason, at most 123 bytes.
        reason: String,
    },
    /// Tell clients that asked for events of our own something. Answer: [`Answer::Notified`], or an error if the named
    /// connection is not here.
    Notify {
        /// Only this one; none: all of them.
        connection_id: Option<ConnectionId>,
        /// The members of the event after its name and its connection: JSON, without braces.
        members: String,
    },
    /// Take no more clients (give their sockets back), or take them again. Answer: done, at once; with a window
    /// [`Answer::Drained`], when nobody is left. (A runner of the version before knows no window.)
    Drain {
        /// True: drain.
        draining: bool,
        /// Seconds in which connections are to leave: to siblings if they can, else closed. None: they stay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<f64>,
    },
    /// The last lines of output. Answer: [`Answer::Lines`].
    Logs {
        /// How many, at most 1,000.
        tail: u32,
    },
    /// Tell the clients, stop the whole tree (TERM, grace, KILL), answer [`Answer::Stopped`], then end.
    Stop {
        /// Seconds between TERM and KILL; none: the service's own `stop_grace`.
        grace: Option<f64>,
        /// Seconds over which clients are told, at most half of the grace; none: as many as our own clients call for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spread: Option<f64>,
        /// It is started again at once, so that clients had better come back (1012, not 1001).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// The exit is noted, nothing is running: end. Answer: done.
    Dismiss,
}

/// A line from the runner after its hello.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RunnerLine {
    /// An answer.
    Answer {
        /// Of the request.
        id: u64,
        /// What came of it.
        answer: Answer,
    },
    /// Something happened.
    Event {
        /// What.
        event: RunnerEvent,
    },
}

/// Answers to [`Request`]s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Answer {
    /// To `Status`.
    Status(Status),
    /// To `FullReport`.
    Report(Box<Report>),
    /// To `Logs`.
    Lines {
        /// Oldest first.
        lines: Vec<String>,
    },
    /// To `Stop`: the tree is gone, or these processes survived.
    Stopped {
        /// How the agent ended, if it ran.
        exit: Option<Exit>,
        /// Processes that KILL did not end within 5 s.
        survivors: Vec<u32>,
    },
    /// To `Drain` with a window.
    Drained(Drained),
    /// To `Disconnect`.
    Disconnected {
        /// It is closed; false: it had not ended in time.
        closed: bool,
    },
    /// To `Notify`.
    Notified {
        /// Clients that get it.
        clients: u32,
    },
    /// It is done.
    Done,
    /// It could not be done.
    Failed {
        /// Why.
        message: String,
    },
}

/// What became of the connections of a runner that was drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drained {
    /// They went on in a sibling.
    pub moved: u32,
    /// They were closed, because they could not.
    pub closed: u32,
    /// Answers that took longer than the window.
    pub interrupted: u32,
}

/// What a runner is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// The agent was started and has not been seen ready by the runner (a file: the worker has not loaded).
    Starting,
    /// A file's worker has loaded; a command's process is running; an external service is always up.
    Up,
    /// A file's worker died; the next one starts at this time.
    Restarting {
        /// When.
        next_try: Timestamp,
        /// How the last one ended.
        exit: Exit,
    },
    /// The tree is being stopped.
    Stopping,
    /// The agent ended and will not be started again by this runner.
    Exited {
        /// How.
        exit: Exit,
        /// Last lines of output, oldest first, at most 20.
        last_lines: Vec<String>,
        /// Processes of the tree that could not be killed.
        survivors: Vec<u32>,
    },
}

/// Who a runner is and how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of which service.
    pub service_id: ServiceId,
    /// Which copy.
    pub index: u32,
    /// Which start.
    pub start_id: StartId,
    /// Agent's process (a file: the worker).
    pub agent_pid: Option<u32>,
    /// When the runner started the agent first.
    pub started_at: Timestamp,
    /// What it is doing.
    #[serde(flatten)]
    pub phase: Phase,
    /// Restarts of a file's worker by this runner.
    pub worker_restarts: u32,
    /// A line of output has matched `ready=log:…`.
    pub ready_line_seen: bool,
    /// A client's message is unanswered, or the agent said something, within `busy_max`.
    pub busy: bool,
    /// A file's worker answers (its event loop is not blocked); always true for others.
    #[serde(default = "yes")]
    pub responsive: bool,
    /// It takes no clients.
    pub draining: bool,
    /// How the tree is held, for `doctor`: `cgroup-v2`, `cgroup-v1` or `subreaper`.
    pub ownership: String,
}

fn yes() -> bool {
    true
}

/// What a runner says unasked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunnerEvent {
    /// The phase, the agent's process, or `ready_line_seen` changed.
    Status(Status),
    /// Once a second, if something changed.
    Report(Box<Report>),
    /// The agent's event loop was blocked, a limit was passed…: one sentence for the events of the service.
    Notice {
        /// A word: `loop_blocked`, `soft_memory_limit`, `log_dropped`…
        kind: String,
        /// A sentence.
        message: String,
    },
}

/// Connections, counters and usage. A periodic report has only what changed; a full one all open connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// True: `open` has every open connection, others are gone.
    pub full: bool,
    /// Open connections, new or with changed counters.
    pub open: Vec<Connection>,
    /// Closed ones not yet acknowledged.
    pub closed: Vec<Closed>,
    /// Open connections in all.
    pub active_connections: u32,
    /// Sessions with and without a connection (agent files only).
    pub active_sessions: u32,
    /// Those of them without a connection.
    #[serde(default)]
    pub detached_sessions: u32,
    /// Places in use: what `max_sessions` limits.
    pub places: u32,
    /// How many there are, 0 without a limit: those of the settings with which the runner was started. None from a runner of an
    /// earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_places: Option<u32>,
    /// Sums since the runner's start.
    pub totals: Totals,
    /// The same of the connections that a rule routed, by the rule's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, Traffic>,
    /// What became of sessions and turns since the runner's start; none from one that knows no sessions (a relay) or does not
    /// count them (an earlier version).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_totals: Option<Box<SessionTotals>>,
    /// In a full report of a relay: sessions whose connections have closed and that only this agent has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_sessions: Vec<String>,
    /// The tree's resources.
    pub usage: Usage,
    /// See [`Status::busy`].
    pub busy: bool,
}

impl Report {
    /// Takes the sums out, so that nobody counts them twice.
    pub fn take_sums(&mut self) -> Sums {
        let sessions = self.session_totals.take().map(|sessions| *sessions).unwrap_or_default();
        Sums { totals: std::mem::take(&mut self.totals), sessions, rules: std::mem::take(&mut self.rules) }
    }

    /// The sums, as they are now.
    pub fn sums(&self) -> Sums {
        let sessions = self.session_totals.as_deref().cloned().unwrap_or_default();
        Sums { totals: self.totals, sessions, rules: self.rules.clone() }
    }
}

/// Resources of the whole process tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Resident memory, bytes.
    pub memory_bytes: u64,
    /// Percent of one core over the last seconds.
    pub cpu_percent: f64,
    /// Processes.
    pub processes: u32,
    /// The runner's own private memory, bytes.
    pub runner_private_bytes: u64,
}

/// One open connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its id.
    pub connection_id: ConnectionId,
    /// The newest session seen on it.
    pub session_id: Option<String>,
    /// Address of the client.
    pub client: SocketAddr,
    /// Its `User-Agent`, at most 200 bytes.
    pub user_agent: Option<String>,
    /// How it was routed; none: it came directly.
    pub strategy: Option<String>,
    /// The rule that routed it.
    pub rule: Option<String>,
    /// How it came to the pool of its first instance; none: it came directly, or the runner or the front door is of the version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolKind>,
    /// When.
    pub connected_at: Timestamp,
    /// Last data message either way.
    pub last_activity: Timestamp,
    /// Messages from the client.
    pub messages_in: u64,
    /// Messages to the client.
    pub messages_out: u64,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// How often it went on in another runner. Counters and times are of all of it.
    #[serde(default, skip_serializing_if = "crate::omit::zero")]
    pub moves: u32,
    /// The client asked for events of our own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub events: bool,
}

/// One closed connection; repeated in reports until acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// From 1, without gaps, per runner.
    pub number: u64,
    /// Final counters.
    pub connection: Connection,
    /// When.
    pub closed_at: Timestamp,
    /// WebSocket close code; 1006 where there was none.
    pub code: u16,
    /// Close reason, or ours.
    pub reason: String,
    /// It is not over: it went on in another runner of the service, under the same id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_counts() {
        let range = |min, max| ProtocolRange { min, max };
        assert_eq!(range(1, 2).common(range(2, 3)), Some(2));
        assert_eq!(range(2, 3).common(range(1, 2)), Some(2));
        assert_eq!(range(1, 1).common(range(1, 1)), Some(1));
        assert_eq!(range(1, 2).common(range(3, 4)), None);
        assert_eq!(range(3, 4).common(range(1, 2)), None);
    }

    #[test]
    fn lines_survive_the_way_through_json() {
        let stop = Request::Stop { grace: Some(0.5), spread: None, again: false };
        let line = RequestLine { id: 7, request: stop };
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(text, r#"{"id":7,"request":{"type":"stop","grace":0.5}}"#);
        assert_eq!(serde_json::from_str::<RequestLine>(&text).unwrap(), line);
        let answer = RunnerLine::Answer { id: 7, answer: Answer::Stopped { exit: None, survivors: vec![3] } };
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<RunnerLine>(&text).unwrap(), answer);
        let report = Report {
            full: true,
            active_connections: 2,
            detached_sessions: 1,
            session_totals: Some(Box::new(SessionTotals { resumed: 3, ..SessionTotals::default() })),
            ..Report::default()
        };
        let event = RunnerLine::Event { event: RunnerEvent::Report(Box::new(report)) };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<RunnerLine>(&text).unwrap(), event);
    }

    #[test]
    fn what_an_earlier_version_does_not_know_is_left_out_and_not_missed() {
        let drain = |window| Request::Drain { draining: true, window };
        let text = serde_json::to_string(&drain(None)).unwrap();
        assert_eq!(text, r#"{"type":"drain","draining":true}"#);
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), drain(None));
        assert_eq!(
            serde_json::from_str::<Request>(r#"{"type":"drain","draining":true,"window":2.5,"new":1}"#)
                .unwrap(),
            drain(Some(2.5))
        );
        assert_eq!(
            serde_json::from_str::<Request>(r#"{"type":"stop","grace":null}"#).unwrap(),
            Request::Stop { grace: None, spread: None, again: false }
        );
    }

    #[test]
    fn a_report_of_a_runner_that_does_not_count_sessions_can_be_read() {
        let line = r#"{"event":{"type":"report","full":false,"open":[],"closed":[],"active_connections":1,"active_sessions":2,
            "places":1,"totals":{"connections":3,"sessions":4,"messages_in":0,"messages_out":0,"bytes_in":0,"bytes_out":0,
            "log_lines_dropped":0},"usage":{"memory_bytes":0,"cpu_percent":0.0,"processes":1,"runner_private_bytes":0},
            "busy":false}}"#;
        let RunnerLine::Event { event: RunnerEvent::Report(mut report) } =
            serde_json::from_str(line).unwrap()
        else {
            unreachable!("the line is a report");
        };
        assert_eq!((report.active_sessions, report.detached_sessions), (2, 0));
        assert_eq!(report.session_totals, None);
        assert_eq!(report.take_sums().totals.sessions, 4);
        assert_eq!(report.take_sums(), Sums::default());
    }

    #[test]
    fn a_connection_of_a_runner_that_does_not_know_its_pool_can_be_read() {
        let line = r#"{"connection_id":"00000000-0000-0000-0000-000000000000","session_id":null,"client":"127.0.0.1:5000",
            "user_agent":null,"strategy":"round_robin","rule":null,"connected_at":"2026-01-02T03:04:05Z",
            "last_activity":"2026-01-02T03:04:05Z","messages_in":1,"messages_out":2,"bytes_in":3,"bytes_out":4}"#;
        let one: Connection = serde_json::from_str(line).unwrap();
        assert_eq!((one.strategy.as_deref(), one.pool), (Some("round_robin"), None));
        // Nor is it told of something that it does not know.
        assert_eq!(
            serde_json::to_value(&one).unwrap(),
            serde_json::from_str::<serde_json::Value>(line).unwrap()
        );
        let known = Connection { pool: Some(PoolKind::Service), ..one };
        let text = serde_json::to_string(&known).unwrap();
        assert!(text.contains(r#""rule":null,"pool":"service","#), "{text}");
        assert_eq!(serde_json::from_str::<Connection>(&text).unwrap(), known);
    }
}
