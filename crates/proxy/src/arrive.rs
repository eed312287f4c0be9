//! The first look at a client: what it wants, and whether that can be done at once.
//!
//! Most clients have sent their whole request when they are accepted, ask for a WebSocket, and go to an instance that takes
//! them: these are handed over on the spot, without a task, a timer or an event of their own. All others get a task that
//! reads their requests, answers those that are for the front door, and sends the others on.

use crate::answer::Answer;
use crate::client::{Client, Socket};
use crate::head::{self, Head, HeadError, Kind};
use crate::journey::Journey;
use crate::plain;
use crate::proxy_protocol;
use crate::route::{self, Step};
use crate::thread::Thread;
use myagent_core::ConnectionId;
use myagent_core::front_door::Turned;
use myagent_core::origin;
use myagent_core::wire::handover::MAX_HEAD;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Serves a client that was accepted.
pub(crate) fn first_look(thread: &Rc<Thread>, socket: OwnedFd, peer: SocketAddr) {
    let (seat, since) = (thread.crowd.seat(), Instant::now());
    let mut bytes = Vec::new();
    {
        let mut scratch = thread.scratch.borrow_mut();
        match rustix::net::recv(&socket, &mut scratch[..MAX_HEAD], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return thread.counters.left(),
            Ok((_, count)) => bytes.extend_from_slice(&scratch[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return thread.counters.left(),
        }
    }
    let connection_id = ConnectionId((thread.shared.random_id)());
    let socket = Socket::Plain(socket);
    let mut client = Client { connection_id, socket, peer, bytes, head_len: 0, since, seat };
    let config = &thread.shared.config;
    let is_announced = config.proxy_protocol && config.trusted_proxies.contains(peer.ip());
    if !is_announced
        && let Ok(Some(head)) = head::parse(&client.bytes)
        && head.kind == Kind::WebSocket
        && is_welcome(thread, &head)
    {
        introduce(thread, &mut client, peer, &head);
        match route::admit(thread, &client) {
            Ok(()) => hand_over(thread, client, head),
            Err(denied) => {
                let thread = Rc::clone(thread);
                let tasks = thread.tasks.clone();
                tasks.spawn_local(async move { route::deny(&thread, client, &head, denied).await });
            }
        }
        return;
    }
    thread.tasks.spawn_local(serve(Rc::clone(thread), client, peer, is_announced));
}

/// Hands a client over at once; if something has to be waited for, in a task.
fn hand_over(thread: &Rc<Thread>, client: Client, head: Head) {
    let step = route::next_step(thread, &client, &Journey::default());
    let (client, step) = match step {
        Step::Offer(link, why, pool) => match link.try_offer(thread, client, why) {
            Ok(()) => return,
            // It was chosen for this one: a second decision would take somebody else's turn.
            Err(returned) => {
                let (client, why) = *returned;
                (client, Step::Offer(link, why, pool))
            }
        },
        other => (client, other),
    };
    let way = route::route(Rc::clone(thread), client, head, Journey::default(), Some(step));
    thread.tasks.spawn_local(way);
}

/// Whether the page that the client is, if it is one, may connect.
fn is_welcome(thread: &Thread, head: &Head) -> bool {
    let allowed = &thread.shared.config.allowed_origins;
    head.origin.as_ref().is_none_or(|origin| origin::is_allowed(origin, allowed))
}

/// Notes where the head ends, and who the client is: `peer`, or what trusted proxies say.
fn introduce(thread: &Thread, client: &mut Client, peer: SocketAddr, head: &Head) {
    client.head_len = head.len;
    client.peer = head::client_address(&client.bytes, peer, &thread.shared.config.trusted_proxies);
}

/// Reads a client's requests, and answers them or sends it on. `is_announced`: a header of the PROXY protocol comes first.
/// What follows the reading is boxed: thousands who never finish their head shall not each hold the memory for it.
async fn serve(thread: Rc<Thread>, client: Client, mut peer: SocketAddr, mut is_announced: bool) {
    // Only a socket that is gone cannot be watched.
    let Ok(mut client) = client.watch() else { return };
    let mut is_first = true;
    loop {
        let Socket::Watched(stream) = &client.socket else { return };
        if std::mem::take(&mut is_announced) {
            let reading = proxy_protocol::read(stream, &thread.scratch, &mut client.bytes);
            match in_time(&thread, reading).await {
                Ok(source) => peer = source.unwrap_or(peer),
                Err(error) => return Box::pin(give_up(&thread, client, &error)).await,
            }
        }
        let is_between = !std::mem::take(&mut is_first) && client.bytes.is_empty();
        let reading = head::read(stream, &thread.scratch, &mut client.bytes);
        let read = tokio::select! {
            read = in_time(&thread, reading) => read,
            // Nobody waits for a request that may never come.
            () = thread.finishing.cancelled(), if is_between => return,
        };
        let head = match read {
            Ok(head) => head,
            // Between two requests a client may leave when it likes, or be forgotten.
            Err(HeadError::Left | HeadError::Late) if is_between && client.bytes.is_empty() => return,
            Err(error) => return Box::pin(give_up(&thread, client, &error)).await,
        };
        client.since = Instant::now();
        introduce(&thread, &mut client, peer, &head);
        let is_welcome = is_welcome(&thread, &head);
        let answer = match head.kind {
            _ if !is_welcome => {
                thread.counters.turned_away(Turned::Origin);
                Answer::foreign_origin(head.origin.as_deref().unwrap_or_default())
            }
            Kind::Health => Answer::health(),
            Kind::WebSocket | Kind::EventStream => {
                if let Err(denied) = route::admit(&thread, &client) {
                    return Box::pin(route::deny(&thread, client, &head, denied)).await;
                }
                return Box::pin(route::route(thread, client, head, Journey::default(), None)).await;
            }
            Kind::Plain => match Box::pin(plain::serve(&thread, client, &head)).await {
                Some(served) => {
                    client = served;
                    client.connection_id = ConnectionId((thread.shared.random_id)());
                    continue;
                }
                None => return,
            },
        };
        let Ok(mut stream) = client.socket.watched() else { return };
        if !head.keeps_alive || !is_welcome {
            return Box::pin(end(&thread, stream, answer.bytes(false, head.is_head_method).as_bytes())).await;
        }
        if !answer.write(&mut stream, head.is_head_method).await {
            return;
        }
        client.socket = Socket::Watched(stream);
        client.bytes.drain(..head.len);
        client.connection_id = ConnectionId((thread.shared.random_id)());
    }
}

/// Reads from a client within the time for a request, and only as long as there is room for slow ones.
async fn in_time<T>(
    thread: &Thread,
    reading: impl Future<Output = Result<T, HeadError>>,
) -> Result<T, HeadError> {
    match thread.crowd.at_own_pace(timeout(thread.shared.config.head_timeout, reading)).await {
        Some(Ok(read)) => read,
        Some(Err(_)) => Err(HeadError::Late),
        None => Err(HeadError::SentAway),
    }
}

/// Tells a client whose request cannot be read why, if it asked for an answer.
async fn give_up(thread: &Thread, client: Client, error: &HeadError) {
    thread.counters.bad_head(error);
    // A browser opens connections in advance and says nothing on them.
    let said_nothing = client.bytes.is_empty();
    if let Some(answer) = Answer::bad_head(error).filter(|_| !said_nothing)
        && let Ok(stream) = client.socket.watched()
    {
        end(thread, stream, answer.bytes(false, false).as_bytes()).await;
    }
}

/// Sends the last bytes and ends the connection, at the client's own pace.
pub(crate) async fn end(thread: &Thread, mut stream: TcpStream, bytes: &[u8]) {
    // One that is sent away meanwhile had its time.
    let _ = thread.crowd.at_own_pace(crate::answer::send_and_end(&mut stream, bytes)).await;
}
