//! What a manager can ask, one arm each.

use crate::control::ClientId;
use crate::runner::Runner;
use myagent_core::wire::control::{Answer, Phase, Request, RequestLine};

/// Most lines of output in one answer.
const MAX_TAIL: u32 = 1000;

impl Runner {
    /// Answers a request, at once but for a stop.
    pub(crate) fn answer(&mut self, client: ClientId, line: RequestLine) {
        let RequestLine { id, request } = line;
        let answer = match request {
            Request::Status => Answer::Status(self.status()),
            Request::FullReport => Answer::Report(Box::new(self.report(true))),
            Request::AckClosed { up_to } => {
                self.table.ack_closed(up_to);
                Answer::Done
            }
            Request::Disconnect { connection_id, code, reason } => {
                if self.table.disconnect(connection_id, code, &reason) {
                    Answer::Done
                } else {
                    Answer::Failed { message: format!("connection {connection_id} is not open here") }
                }
            }
            Request::Drain { draining } => {
                self.drain(draining);
                Answer::Done
            }
            Request::Logs { tail } => Answer::Lines { lines: self.logs.last(tail.min(MAX_TAIL) as usize) },
            Request::Stop { grace } => return self.stop_for(client, id, grace),
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

    /// Takes no more clients, or takes them again.
    fn drain(&mut self, draining: bool) {
        // A stop cannot be taken back.
        let draining = draining || self.stop.is_some();
        if self.draining.replace(draining) != draining {
            self.table.set_draining(draining);
            self.tell_status();
        }
    }
}
