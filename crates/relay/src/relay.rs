//! The transparent relay to a command agent or an external service: taking a client, making the handshake with the agent.
//!
//! Nothing is written to the client before the agent has answered, so that a client whose agent is not there can be given
//! back untouched and served by another instance.

use crate::client::{Client, GivenBack};
use crate::conversation::{Conversation, Mode, Opening};
use crate::flow::BUFFER;
use crate::handshake::error_response;
use crate::table::Table;
use crate::upstream::{self, ANSWER_TIMEOUT, HANDSHAKE_TIMEOUT, UpstreamError};
use myagent_core::http::request::{self, Caller, Destination};
use myagent_core::http::{Answer, Request, Upstream};
use myagent_core::wire::handover::{Offer, Refusal};
use myagent_handover::vanish::allow_slowness;
use myagent_tls::{Stream, Trust};
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What a relay is for.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the agent is.
    pub target: Upstream,
    /// Whom to trust if it is reached over TLS.
    pub trust: Trust,
    /// Name of the service, for the headers of answers.
    pub service: String,
    /// Name of the instance, likewise.
    pub instance: String,
    /// A client that has taken none of the bytes kept for it for so long is dropped.
    pub slow_client: Duration,
}

/// The relay of one instance.
pub struct Relay {
    target: Upstream,
    trust: Trust,
    table: Table,
    service: String,
    instance: String,
    pub(crate) slow_client: Duration,
    /// `Host` for an external service.
    host: Option<String>,
    address: String,
    /// The read buffer of all connections; borrowed only while one of them is polled.
    pub(crate) buffer: RefCell<Box<[u8]>>,
}

impl Relay {
    /// A relay whose connections are entered into this table.
    pub fn new(config: Config, table: Table) -> Rc<Self> {
        let Config { target, trust, service, instance, slow_client } = config;
        let host = target.host();
        let address = target.address();
        let buffer = RefCell::new(vec![0; BUFFER].into_boxed_slice());
        Rc::new(Self { target, trust, table, service, instance, slow_client, host, address, buffer })
    }

    /// Whether the agent is a process of ours, so that its end will be told.
    pub(crate) fn owns_agent(&self) -> bool {
        matches!(self.target, Upstream::Local { .. })
    }

    /// Connects to the agent and makes the handshake. The client is given back, untouched, if there is no place for it, if
    /// the agent cannot be reached or does not answer a WebSocket handshake within 5 s, or answers it with a 5xx. Any other
    /// answer is passed on by the conversation.
    pub async fn begin(self: &Rc<Self>, client: Client) -> Result<Conversation, GivenBack> {
        if self.table.draining() {
            return Err(GivenBack::new(client, Refusal::Draining, format!("{} is draining", self.instance)));
        }
        if self.table.is_full() {
            return Err(GivenBack::new(
                client,
                Refusal::Full,
                format!("all places of {} are taken", self.instance),
            ));
        }
        let _place = self.table.reserve();
        let destination =
            Destination { path: self.target.path(), host: self.host.as_deref(), default_host: &self.address };
        let Offer { client: address, connection_id, .. } = client.offer;
        let caller = Caller { client: address, connection_id };
        let request = match request::rewrite(&client.head, destination, caller) {
            Ok(request) => request,
            // No runner could read it; the front door can tell the client.
            Err(error) => return Err(GivenBack::new(client, Refusal::BadRequest, error.to_string())),
        };
        let mut agent = match upstream::connect(&self.target, &self.trust).await {
            Ok(agent) => agent,
            Err(error) => return Err(GivenBack::new(client, Refusal::ConnectFailed, error.to_string())),
        };
        // The body of a plain request belongs to it; frames behind a handshake wait for its answer.
        let (parts, limit): ([&[u8]; 2], _) = if request.upgrade {
            ([&request.head, &[]], HANDSHAKE_TIMEOUT)
        } else {
            ([&request.head, &client.rest], ANSWER_TIMEOUT)
        };
        match upstream::exchange(&mut agent, &self.address, &parts, request.is_head, limit).await {
            Ok(answer) if request.upgrade && answer.status >= 500 => {
                let detail = format!("{} answered the handshake with {}", self.instance, answer.status);
                Err(GivenBack::new(client, Refusal::UpstreamError, detail))
            }
            Ok(answer) => Ok(self.open(client, agent, request, answer)),
            Err(error) if request.upgrade => {
                Err(GivenBack::new(client, Refusal::ConnectFailed, error.to_string()))
            }
            // The agent may have begun to act on it, so nobody else may be asked.
            Err(error) => {
                self.fail(&client, request, &error);
                Ok(Conversation::over())
            }
        }
    }

    /// From here on the client is ours.
    fn open(
        self: &Rc<Self>,
        client: Client,
        agent: Stream,
        request: Request,
        answer: Answer,
    ) -> Conversation {
        let Client { offer, rest, stream, .. } = client;
        let entry = self.table.open(&offer, request.user_agent);
        if let Some(session) = &request.session {
            entry.set_session(session);
        }
        let connection_id = offer.connection_id.to_string();
        let mut to_client = answer.client_head(&[
            ("X-MyAgent-Service", &self.service),
            ("X-MyAgent-Instance", &self.instance),
            ("X-MyAgent-Connection-Id", &connection_id),
        ]);
        if answer.status == 101 && request.events {
            entry.want_events();
        }
        let mode = if answer.status == 101 {
            Mode::Frames
        } else {
            Mode::Http { status: answer.status, body: Box::new(answer.body) }
        };
        // It fits into the socket's empty buffer, so that nobody has to wait until it is known to be writable. Whoever is
        // gone already is noticed later.
        let sent = (&stream).write(&to_client).unwrap_or(0);
        to_client.drain(..sent);
        // The rest of what is said of its socket it has from its listener.
        let watched = allow_slowness(&stream, self.slow_client).and_then(|()| TcpStream::from_std(stream));
        let stream = match watched {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(connection_id = %offer.connection_id, %error, "failed to watch a client's socket");
                entry.close(1006, "the client's socket could not be used");
                return Conversation::over();
            }
        };
        let opening = Opening {
            to_client,
            from_agent: answer.rest,
            from_client: if request.upgrade { rest } else { Vec::new() },
        };
        Conversation::new(Rc::clone(self), entry, stream, agent, mode, &opening, Instant::now())
    }

    /// A plain request failed after it was sent: the client is told in plain text.
    fn fail(&self, client: &Client, request: Request, error: &UpstreamError) {
        let entry = self.table.open(&client.offer, request.user_agent);
        let answer = error_response(502, &[("X-MyAgent-Service", &self.service)], &error.to_string());
        // It fits into the socket's empty buffer; a client that is gone needs no answer.
        let _ = (&client.stream).write_all(&answer);
        let _ = client.stream.shutdown(std::net::Shutdown::Write);
        entry.close(1006, &error.to_string());
    }
}
