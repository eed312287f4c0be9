//! What a manager can ask, one arm each.

use crate::control::ClientId;
use crate::event::Event;
use crate::runner::Runner;
use crate::stop::How;
use myagent_core::ConnectionId;
use myagent_core::wire::control::{Answer, CLOSES_WITHIN, Phase, Request, RequestLine};
use myagent_relay::table::MAX_CLOSED_PER_REPORT;
use std::time::Duration;

/// Time between two reports while there are more closed connections than one has room for.
const CLOSED_PACE: Duration = Duration::from_millis(250);
/// Most lines of output in one answer.
const MAX_TAIL: u32 = 1000;
/// Between two looks whether a connection is closed.
const LOOK: Duration = Duration::from_millis(5);

fn not_here(connection_id: ConnectionId) -> Answer {
    Answer::Failed { message: format!("connection {connection_id} is not open here") }
}

impl Runner {
    /// Answers a request, at once but for a stop, a drain with a window, and the end of a connection.
    pub(crate) fn answer(&mut self, client: ClientId, line: RequestLine) {
        let RequestLine { id, request } = line;
        let answer = match request {
            Request::Status => Answer::Status(self.status()),
            Request::FullReport => Answer::Report(Box::new(self.report(true))),
            Request::AckClosed { up_to } => {
                self.table.ack_closed(up_to);
                self.clients.answer(client, id, Answer::Done);
                // At one report a second, ten thousand clients that leave at once would be shown, and counted against their
                // addresses, for ten more. Less than a whole report can wait for the next one. Not at once, for where
                // thousands come and go in each second that would be all that a manager does.
                if self.table.unreported_closed() >= MAX_CLOSED_PER_REPORT as u64 {
                    let events = self.events.clone();
                    self.tasks.spawn_local(async move {
                        tokio::time::sleep(CLOSED_PACE).await;
                        // Without anybody to handle it there is nobody to tell.
                        let _ = events.send(Event::News).await;
                    });
                }
                return;
            }
            Request::Disconnect { connection_id, code, reason } => {
                if self.table.disconnect(connection_id, code, &reason) {
                    return self.answer_when_closed(client, id, connection_id);
                }
                not_here(connection_id)
            }
            Request::Notify { connection_id, members } => {
                match (self.table.notify(connection_id, &members), connection_id) {
                    (Some(clients), _) => Answer::Notified { clients },
                    (None, Some(id)) => not_here(id),
                    (None, None) => Answer::Notified { clients: 0 },
                }
            }
            Request::Drain { draining: true, window: Some(window) } => {
                return self.let_leave(client, id, window);
            }
            Request::Drain { draining, .. } => {
                self.set_draining(draining);
                Answer::Done
            }
            Request::Logs { tail } => Answer::Lines { lines: self.logs.last(tail.min(MAX_TAIL) as usize) },
            Request::Stop { grace, spread, again } => {
                return self.stop_for(client, id, How { grace, spread, again });
            }
            Request::Dismiss => {
                if matches!(self.phase, Phase::Exited { .. }) {
                    self.finished = true;
                    Answer::Done
                } else {
                    Answer::Failed { message: "the agent runs; ask for a stop".to_owned() }
                }
            }
        };
        self.clients.answer(client, id, answer);
    }

    /// A connection was asked to close.
    fn answer_when_closed(&mut self, client: ClientId, id: u64, connection: ConnectionId) {
        let (table, clients) = (self.table.clone(), self.clients.clone());
        self.tasks.spawn_local(async move {
            let closed = async {
                while table.is_open(connection) {
                    tokio::time::sleep(LOOK).await;
                }
            };
            let closed = tokio::time::timeout(CLOSES_WITHIN, closed).await.is_ok();
            // It may have been on its way to another runner just then.
            let answer = if closed && table.has_moved(connection) {
                not_here(connection)
            } else {
                Answer::Disconnected { closed }
            };
            clients.answer(client, id, answer);
        });
    }
}
