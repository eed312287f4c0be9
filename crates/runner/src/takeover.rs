//! The take-over socket: clients come in with their sockets, and are taken or given back untouched.

use crate::backend::Backend;
use myagent_core::wire::handover::{Down, Offer, Refusal, Up, decode, encode};
use myagent_handover::{Channel, Listener, Received};
use myagent_relay::{Client, GivenBack};
use std::cell::{Cell, RefCell};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinSet;

/// What decides about a client at the moment it comes.
#[derive(Clone)]
pub(crate) struct Door {
    /// Who serves.
    pub(crate) backend: Rc<RefCell<Backend>>,
    /// Nobody is taken.
    pub(crate) draining: Rc<Cell<bool>>,
}

/// Serves the socket for as long as it is polled. Conversations live in here too: they end with it.
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

/// Serves one proxy (or another runner). Its end is not the end of the conversations that came through it.
async fn serve_channel(channel: Rc<Channel>, door: Door) {
    let mut clients = JoinSet::new();
    let mut message = Vec::new();
    loop {
        tokio::select! {
            received = channel.recv(&mut message) => match received {
                Ok(Some(received)) => match client(&message, received) {
                    Ok(client) => drop(clients.spawn_local(serve_client(Rc::clone(&channel), door.clone(), client))),
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
        // A message may be 40 KiB; an idle runner holds no buffer.
        message = Vec::new();
    }
    while clients.join_next().await.is_some() {}
}

fn client(message: &[u8], received: Received) -> Result<Client, String> {
    let (Down::Offer(offer), raw) = decode::<Down>(message).map_err(|error| error.to_string())?;
    let descriptor = received.descriptor.ok_or("an offer came without a socket")?;
    let (head, rest) = raw.split_at_checked(offer.head_len).ok_or("an offer's head is cut short")?;
    let (head, rest) = (head.to_vec(), rest.to_vec());
    let stream = TcpStream::from(descriptor);
    stream.set_nonblocking(true).map_err(|error| error.to_string())?;
    Ok(Client { offer, head, rest, stream })
}

async fn serve_client(channel: Rc<Channel>, door: Door, client: Client) {
    let connection_id = client.offer.connection_id;
    let begun = if door.draining.get() {
        Err(GivenBack::new(client, Refusal::Draining, "the instance is draining"))
    } else {
        let backend = door.backend.borrow().clone();
        backend.begin(client).await
    };
    match begun {
        Ok(conversation) => {
            // The proxy may be gone; the client is ours all the same.
            let _ = tell(&channel, &Up::Taken { connection_id }, &[], None).await;
            conversation.await;
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
