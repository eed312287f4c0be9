//! A plain request: neither a WebSocket nor an event stream, so it is over soon, and its client's connection may have others
//! behind it. It is not handed over but carried from here, on a connection of its own to the agent of the chosen instance.
//!
//! It is routed like every other client, may wait like one, and counts as a connection of its instance while it runs. Another
//! instance is tried only if the agent could not be reached: once it may have seen anything of a request, nobody else gets it.

mod exchange;
mod moving;

use crate::ProxyEvent;
use crate::answer::Answer;
use crate::arrive::end;
use crate::client::{Client, Socket};
use crate::handover::Link;
use crate::head::Head;
use crate::journey::Journey;
use crate::route::{self, Chosen};
use crate::thread::Thread;
use exchange::{Exchange, Failure, Outcome};
use myagent_core::ConnectionId;
use myagent_core::front_door::Turned;
use myagent_core::http::Upstream;
use myagent_core::http::request::{self, Caller, Destination, Plain};
use myagent_core::routing::{PoolId, SharedLoad};
use myagent_tls::Stream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// How long an agent may take to accept a connection, and to speak TLS on it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// When a client may try again for which there is no room.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An agent that was reached.
struct Reached {
    stream: Stream,
    upstream: Arc<Upstream>,
    service: Arc<str>,
    instance: Arc<str>,
    counted: Counted,
}

/// Serves a plain request. The client, with what came behind the request, if its connection is kept for another one.
pub(crate) async fn serve(thread: &Rc<Thread>, mut client: Client, head: &Head) -> Option<Client> {
    let plain = match request::plain(&client.bytes[..client.head_len]) {
        Ok(plain) => plain,
        Err(error) => {
            thread.counters.turned_away(Turned::BadRequest);
            tell(thread, client, head, &Answer::bad_request(error.to_string())).await;
            return None;
        }
    };
    if let Err(denied) = route::admit(thread, &client) {
        route::deny(thread, client, head, denied).await;
        return None;
    }
    let Some(_room) = Room::take(thread) else {
        thread.counters.turned_away(Turned::TooManyRequests);
        let reason = "too many plain requests are under way".to_owned();
        let answer = Answer::unavailable(reason, thread.shared.jittered(RETRY_AFTER));
        tell(thread, client, head, &answer).await;
        return None;
    };
    let (mut journey, mut pool, mut first) = (Journey::default(), PoolId::All, None);
    let (link, reached) = loop {
        match route::choose(thread, &mut client, &mut journey, &mut first, &mut pool).await {
            Chosen::Runner(link, _) => match reach(thread, &mut client, &link).await {
                Some(Ok(reached)) => break (link, reached),
                Some(Err(reason)) => {
                    let (key, start_id) = link.id();
                    thread.failed(key, start_id);
                    thread.shared.tell(ProxyEvent::RequestFailed { key, reason: reason.clone() });
                    journey.not_reached(key, reason);
                }
                None => {
                    thread.counters.left();
                    return None;
                }
            },
            Chosen::Nobody(reason, recoverable) => {
                if journey.met_failure() {
                    thread.shared.requests.failed.fetch_add(1, Ordering::Relaxed);
                    tell(thread, client, head, &Answer::agent_failed(reason)).await;
                } else {
                    route::refuse(thread, client, head, reason, recoverable).await;
                }
                return None;
            }
            Chosen::Left => return None,
        }
    };
    // The next in the queue need not wait for the answer.
    drop(journey);
    pass(thread, client, head, &plain, &link, reached).await
}

/// Connects to the agent of an instance; none: the client has left meanwhile.
async fn reach(thread: &Rc<Thread>, client: &mut Client, link: &Link) -> Option<Result<Reached, String>> {
    let (key, start_id) = link.id();
    let found = {
        let view = thread.view.borrow();
        let instance = view.snapshot.instance(key).filter(|instance| instance.start_id == start_id);
        instance.zip(view.snapshot.service_name(key)).and_then(|(instance, service)| {
            Some((instance.upstream.clone()?, Arc::clone(service), Arc::clone(&instance.name)))
        })
    };
    let Some((upstream, service, instance)) = found else {
        return Some(Err("its address is not known".to_owned()));
    };
    let counted = Counted::new(thread, client, link);
    let connecting = timeout(CONNECT_TIMEOUT, thread.shared.config.trust.reach(&upstream));
    let connected = tokio::select! {
        connected = connecting => connected,
        () = client.left() => return None,
    };
    let problem = match connected {
        Ok(Ok(stream)) => return Some(Ok(Reached { stream, upstream, service, instance, counted })),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
    };
    Some(Err(format!("connecting to {instance} at {}: {problem}", upstream.address())))
}

/// Carries the request to the agent, and the answer back.
async fn pass(
    thread: &Rc<Thread>,
    mut client: Client,
    head: &Head,
    plain: &Plain,
    link: &Link,
    reached: Reached,
) -> Option<Client> {
    let (key, start_id) = link.id();
    let connection_id = client.connection_id.to_string();
    let headers = [
        ("X-MyAgent-Service", &*reached.service),
        ("X-MyAgent-Instance", &*reached.instance),
        ("X-MyAgent-Connection-Id", connection_id.as_str()),
    ];
    let (folder, host, address) =
        (reached.upstream.folder(), reached.upstream.host(), reached.upstream.address());
    let destination = Destination { path: &folder, host: host.as_deref(), default_host: &address };
    let caller = Caller { client: client.peer, connection_id: client.connection_id };
    let request = match request::rewrite_plain(&client.bytes[..client.head_len], plain, destination, caller) {
        Ok(request) => request,
        Err(error) => {
            tell(thread, client, head, &Answer::bad_request(error.to_string())).await;
            return None;
        }
    };
    let Socket::Watched(stream) = &mut client.socket else { return None };
    let behind = client.bytes.split_off(client.head_len);
    client.bytes.clear();
    let succeeded = || {
        if let Some(load) = thread.load(key, start_id) {
            load.succeeded();
        }
    };
    let exchange = Exchange {
        thread,
        plain,
        may_keep: !head.closes && plain.is_http_1_1,
        headers: &headers,
        answered: &succeeded,
    };
    let outcome = exchange.run(stream, reached.stream, request, behind).await;
    drop(reached.counted);
    let counters = &thread.shared.requests;
    let is_served = matches!(outcome, Outcome::Again(_) | Outcome::Over);
    let counter = if is_served { &counters.served } else { &counters.failed };
    counter.fetch_add(1, Ordering::Relaxed);
    let failure = match outcome {
        Outcome::Again(rest) => {
            client.bytes = rest;
            return Some(client);
        }
        Outcome::Over => {
            if let Ok(stream) = client.socket.watched() {
                end(thread, stream, &[]).await;
            }
            return None;
        }
        Outcome::Cut => {
            // A client whose answer ends with the connection would take it for whole. One that is gone cannot be told.
            let _ = stream.set_zero_linger();
            return None;
        }
        Outcome::Failed(failure) => failure,
    };
    let told = |reason: String| {
        let reason = format!("{} at {address}: {reason}", reached.instance);
        thread.shared.tell(ProxyEvent::RequestFailed { key, reason: reason.clone() });
        reason
    };
    let answer = match failure {
        Failure::BadBody(error) => Answer::bad_request(format!("the request's body cannot be read: {error}")),
        Failure::LateBody => Answer::late_request(),
        Failure::Agent(reason) => Answer::agent_failed(told(reason)),
        Failure::AgentLate(reason) => Answer::agent_timeout(told(reason)),
        Failure::ShuttingDown => Answer::unavailable(
            "the manager is shutting down".to_owned(),
            thread.shared.jittered(RETRY_AFTER),
        ),
    };
    tell(thread, client, head, &answer).await;
    None
}

/// Gives the client an answer of our own, and ends the connection: its request may not have been read.
async fn tell(thread: &Thread, client: Client, head: &Head, answer: &Answer) {
    if let Ok(stream) = client.socket.watched() {
        end(thread, stream, answer.bytes(false, head.is_head_method).as_bytes()).await;
    }
}

/// A request's part of the room. All of them have half of it, so that they never keep WebSockets out; each has two sockets.
struct Room<'a>(&'a Thread);

impl<'a> Room<'a> {
    fn take(thread: &'a Thread) -> Option<Self> {
        let most = (thread.crowd.most() / 2).max(1);
        (thread.requests.get() < most).then(|| {
            thread.requests.set(thread.requests.get() + 1);
            Self(thread)
        })
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get() - 1);
    }
}

/// A request that counts as a connection, of its instance and of its client.
struct Counted {
    thread: Rc<Thread>,
    load: Option<Arc<SharedLoad>>,
    id: ConnectionId,
}

impl Counted {
    fn new(thread: &Rc<Thread>, client: &Client, link: &Link) -> Self {
        let (key, start_id) = link.id();
        let load = thread.load(key, start_id);
        if let Some(load) = &load {
            load.request_began();
        }
        let id = client.connection_id;
        thread.shared.admission.clients.handed_over(id, client.peer.ip());
        Self { thread: Rc::clone(thread), load, id }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(load) = &self.load {
            load.request_ended();
        }
        self.thread.shared.admission.clients.given_back(self.id);
    }
}
