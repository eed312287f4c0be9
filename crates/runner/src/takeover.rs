//! The take-over socket: clients come in with their sockets, from the proxy, and are taken or given back untouched; or from
//! another runner, for a session that is here.

use crate::backend::Backend;
use myagent_core::wire::handover::{Ask, Down, MAX_UNREAD, Moved, Offer, Refusal, Up, decode, encode};
use myagent_handover::{Channel, Listener, Received};
use myagent_relay::table::Place;
use myagent_relay::{Client, GivenBack};
use std::cell::{Cell, RefCell};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// An agent's handshake that takes longer than this is not waited for before the proxy is answered.
const SLOW_HANDSHAKE: Duration = Duration::from_millis(300);

/// What decides about a client at the moment it comes.
#[derive(Clone)]
pub(crate) struct Door {
    /// Who serves.
    pub(crate) backend: Rc<RefCell<Backend>>,
    /// Nobody is taken.
    pub(crate) draining: Rc<Cell<bool>>,
    /// Conversations that go on, whatever becomes of the channel through which they came.
    pub(crate) conversations: TaskTracker,
}

/// Serves the socket for as long as it is polled.
pub(crate) async fn serve(listener: Listener, door: Door) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(channel) => drop(tasks.spawn_local(serve_channel(Rc::new(channel), door.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "failed to accept on the take-over socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// Serves one proxy (or another runner).
async fn serve_channel(channel: Rc<Channel>, door: Door) {
    let mut clients = JoinSet::new();
    let mut message = Vec::new();
    let (mut arriving, mut place) = (None, None);
    loop {
        tokio::select! {
            received = channel.recv(&mut message) => match received {
                Ok(Some(received)) => match take_in(&message, received, &mut arriving) {
                    Ok(Some(Incoming::Client(client))) => {
                        clients.spawn_local(serve_client(Rc::clone(&channel), door.clone(), client));
                    }
                    Ok(Some(Incoming::Ask(ask))) => {
                        let answer;
                        (answer, place) = door.backend.borrow().answer(&ask);
                        // Whoever asks and has gone has no client to hand over either.
                        let _ = tell(&channel, &answer, &[], None).await;
                    }
                    Ok(Some(Incoming::Moved(client))) => {
                        // A task of its own: it ends even if the other runner has gone meanwhile.
                        let arrival = arrive(Rc::clone(&channel), door.clone(), client, place.take());
                        door.conversations.spawn_local(arrival);
                    }
                    Ok(None) => {}
                    Err(error) => tracing::warn!(error, "refused a message on the take-over socket"),
                },
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "a connection to the take-over socket broke");
                    break;
                }
            },
            Some(_) = clients.join_next() => {}
        }
        // It may be 40 KiB; an idle runner holds no buffer.
        message = Vec::new();
    }
    while clients.join_next().await.is_some() {}
}

/// Takes a client of another runner. If it brings sessions, they are adopted first, and the other runner is told before
/// anything is done with the socket: until then it is that one's.
async fn arrive(channel: Rc<Channel>, door: Door, client: Arriving, place: Option<Place>) {
    let Arriving { moved, raw, stream } = client;
    let backend = door.backend.borrow().clone();
    if moved.brings.is_some() {
        let connection_id = moved.connection_id;
        let (up, taken) = match backend.adopt(&moved).await {
            Ok(()) => (Up::Taken { connection_id }, true),
            Err(up) => (up, false),
        };
        // If it has gone, the socket is ours alone; if it does not wait any more, it has cut the connection off.
        let _ = tell(&channel, &up, &[], None).await;
        if !taken {
            return;
        }
    }
    drop(channel);
    let conversation = backend.take_over(moved, raw, stream);
    // From here on the connection has a place of its own.
    drop(place);
    if let Some(conversation) = conversation {
        door.conversations.spawn_local(conversation);
    }
}

/// What came.
enum Incoming {
    /// A client, from the proxy.
    Client(Client),
    /// A question of another runner.
    Ask(Ask),
    /// A client of another runner, complete.
    Moved(Arriving),
}

/// A client of another runner, whose unread and unsent bytes may still be on their way.
struct Arriving {
    moved: Moved,
    raw: Vec<u8>,
    stream: TcpStream,
}

/// Reads a message. None: more of the client follows.
fn take_in(
    message: &[u8],
    received: Received,
    arriving: &mut Option<Arriving>,
) -> Result<Option<Incoming>, String> {
    let (down, raw) = decode::<Down>(message).map_err(|error| error.to_string())?;
    let stream = |descriptor: Option<OwnedFd>| {
        let stream = TcpStream::from(descriptor.ok_or("a client came without a socket")?);
        stream.set_nonblocking(true).map_err(|error| error.to_string())?;
        Ok::<_, String>(stream)
    };
    match down {
        Down::Offer(offer) => {
            let stream = stream(received.descriptor)?;
            let (head, rest) = raw.split_at_checked(offer.head_len).ok_or("an offer's head is cut short")?;
            let (head, rest) = (head.to_vec(), rest.to_vec());
            return Ok(Some(Incoming::Client(Client { offer, head, rest, stream })));
        }
        Down::Ask(ask) => return Ok(Some(Incoming::Ask(ask))),
        Down::Moved(moved) => {
            let stream = stream(received.descriptor)?;
            if moved.unread > MAX_UNREAD || moved.unsent > MAX_UNREAD {
                return Err(format!("a moved client has {} bytes", moved.raw()));
            }
            *arriving = Some(Arriving { moved, raw: raw.to_vec(), stream });
        }
        Down::Unread => {
            arriving.as_mut().ok_or("unread bytes came without a client")?.raw.extend_from_slice(raw);
        }
    }
    Ok(arriving.take_if(|client| client.raw.len() >= client.moved.raw()).map(Incoming::Moved))
}

async fn serve_client(channel: Rc<Channel>, door: Door, client: Client) {
    let connection_id = client.offer.connection_id;
    let mut told = false;
    let begun = if door.draining.get() {
        Err(GivenBack::new(client, Refusal::Draining, "the instance is draining"))
    } else {
        let backend = door.backend.borrow().clone();
        let mut begin = pin!(backend.begin(client));
        if let Ok(begun) = timeout(SLOW_HANDSHAKE, &mut begin).await {
            begun
        } else {
            // The agent is slow to answer, we are not: say so, or the proxy would take us for hanging.
            told = tell(&channel, &Up::Taken { connection_id }, &[], None).await.is_ok();
            begin.await
        }
    };
    match begun {
        Ok(conversation) => {
            if !told {
                // The proxy may be gone; the client is ours all the same.
                let _ = tell(&channel, &Up::Taken { connection_id }, &[], None).await;
            }
            // A task of its own, because this one is as large as the handshake needs, and conversations are long.
            door.conversations.spawn_local(conversation);
        }
        Err(GivenBack { client, reason, detail }) => {
            let Client { offer, head, rest, stream } = client;
            let offer = Offer { head_len: head.len(), ..offer };
            let up = Up::GivenBack { offer, reason, detail };
            if let Err(error) = tell(&channel, &up, &[&head, &rest], Some(stream.as_fd())).await {
                tracing::warn!(error, "a client could not be given back; its connection is closed");
            }
        }
    }
}

async fn tell(
    channel: &Channel,
    up: &Up,
    raw: &[&[u8]],
    socket: Option<BorrowedFd<'_>>,
) -> Result<(), String> {
    let mut message = Vec::new();
    encode(&mut message, up, raw).map_err(|error| error.to_string())?;
    channel.send(&message, socket).await.map_err(|error| error.to_string())
}
