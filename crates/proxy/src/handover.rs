//! Offering clients to runners: one take-over channel per runner, opened when the first client is for it.
//!
//! An offer moves the socket: once it is sent our own descriptor is closed, and only the runner's answer says what became of
//! the client: taken, or given back with its socket. A task per channel reads the answers. A runner that leaves an offer
//! unanswered for a second is *silent* and gets no more until it says something. Who is tried next is not decided here.

use crate::ProxyEvent;
use crate::client::{self, Client};
use crate::thread::Thread;
use myagent_core::routing::{RoutedInstance, RoutingSnapshot, Strategy};
use myagent_core::wire::handover::{Down, Offer, Refusal, Up, decode, encode};
use myagent_core::{ConnectionId, InstanceKey, StartId};
use myagent_handover::{Channel, Received};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, OnceCell, oneshot};
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};

/// How long a runner may leave an offer unanswered.
const SILENCE: Duration = Duration::from_secs(1);

/// The runners that this thread knows.
#[derive(Default)]
pub(crate) struct Runners {
    links: RefCell<HashMap<(InstanceKey, StartId), Rc<Link>>>,
    /// Those that are silent.
    silent: RefCell<Vec<InstanceKey>>,
}

/// One runner, as this thread sees it.
pub(crate) struct Link {
    key: InstanceKey,
    start_id: StartId,
    takeover: Arc<Path>,
    channel: OnceCell<Rc<Channel>>,
    /// Offers sent and not answered yet.
    pending: RefCell<HashMap<ConnectionId, oneshot::Sender<Answer>>>,
    last_heard: Cell<Option<Instant>>,
    is_silent: Cell<bool>,
    /// No longer in the snapshot: ends when nothing is pending.
    is_retired: Cell<bool>,
    /// Its channel is no longer read.
    has_ended: Cell<bool>,
    retire: Notify,
}

/// A runner's answer.
enum Answer {
    Taken,
    GivenBack { client: Client, reason: Refusal, detail: String },
}

/// What became of an offer.
pub(crate) enum Offered {
    /// The runner has the client.
    Taken,
    /// The runner ended, or the proxy does, with the client's socket in its hands.
    Lost,
    /// The client is here again.
    GivenBack { client: Client, reason: Refusal, detail: String },
    /// It could not be sent; the client is still here.
    NotSent { client: Client, detail: String },
}

/// Why a client is offered to a runner, as the runner is told.
pub(crate) struct Reason {
    pub(crate) strategy: Strategy,
    /// The name of the rule that matched.
    pub(crate) rule: Option<String>,
    /// Which offer of this client it is.
    pub(crate) attempt: u32,
}

/// Whether giving a client back for this is the instance's fault; being full or on its way out is none.
pub(crate) fn is_failure(reason: Refusal) -> bool {
    matches!(reason, Refusal::ConnectFailed | Refusal::UpstreamError)
}

impl Runners {
    /// The link to the runner of an instance.
    pub(crate) fn link(&self, instance: &RoutedInstance) -> Rc<Link> {
        let mut links = self.links.borrow_mut();
        let link = links.entry((instance.key, instance.start_id)).or_insert_with(|| {
            Rc::new(Link {
                key: instance.key,
                start_id: instance.start_id,
                takeover: Arc::clone(&instance.takeover),
                channel: OnceCell::new(),
                pending: RefCell::default(),
                last_heard: Cell::new(None),
                is_silent: Cell::new(false),
                is_retired: Cell::new(false),
                has_ended: Cell::new(false),
                retire: Notify::new(),
            })
        });
        Rc::clone(link)
    }

    /// The runners that get no offers now.
    pub(crate) fn silent(&self) -> std::cell::Ref<'_, Vec<InstanceKey>> {
        self.silent.borrow()
    }

    /// Drops the runners that are no longer there, each as soon as it has answered everything.
    pub(crate) fn retire_missing(&self, snapshot: &RoutingSnapshot) {
        let instances = snapshot.services().iter().flat_map(|service| &service.instances);
        let present: HashSet<_> = instances.map(|instance| (instance.key, instance.start_id)).collect();
        for (id, link) in self.links.borrow().iter() {
            link.is_retired.set(!present.contains(id));
            if link.is_retired.get() {
                // Its successor has the same key and is not to be thought silent.
                if link.is_silent.replace(false) {
                    self.silent.borrow_mut().retain(|key| *key != link.key);
                }
                link.retire.notify_one();
            }
        }
        self.links.borrow_mut().retain(|id, link| present.contains(id) || link.channel.initialized());
    }

    fn remove(&self, link: &Rc<Link>) {
        let mut links = self.links.borrow_mut();
        let id = (link.key, link.start_id);
        if links.get(&id).is_some_and(|current| Rc::ptr_eq(current, link)) {
            links.remove(&id);
        }
    }
}

impl Link {
    /// Which instance.
    pub(crate) fn key(&self) -> InstanceKey {
        self.key
    }

    /// The open channel; many clients may ask at once and one of them opens it.
    async fn channel(self: &Rc<Self>, thread: &Rc<Thread>) -> io::Result<Rc<Channel>> {
        let open = async {
            let channel = Rc::new(Channel::connect(&self.takeover).await?);
            spawn_local(read(Rc::clone(thread), Rc::clone(self), Rc::clone(&channel)));
            io::Result::Ok(channel)
        };
        let channel = Rc::clone(self.channel.get_or_try_init(|| open).await?);
        if self.has_ended.get() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(channel) }
    }

    /// Offers a client and waits for the answer, however long it takes; `on_silence` is called once if it takes longer than
    /// a second.
    pub(crate) async fn offer(
        self: &Rc<Self>,
        thread: &Rc<Thread>,
        client: Client,
        why: Reason,
        on_silence: impl FnOnce(),
    ) -> Offered {
        let channel = match self.channel(thread).await {
            Ok(channel) => channel,
            Err(error) => {
                thread.runners.remove(self);
                thread.failed(self.key, self.start_id);
                return not_sent(client, &error);
            }
        };
        let id = client.connection_id;
        let (sender, mut answer) = oneshot::channel();
        self.pending.borrow_mut().insert(id, sender);
        let sent_at = Instant::now();
        if let Err(error) = send(thread, &channel, &client, why).await {
            self.pending.borrow_mut().remove(&id);
            thread.failed(self.key, self.start_id);
            if error.kind() == io::ErrorKind::TimedOut {
                self.mark_silent(thread);
            }
            return not_sent(client, &error);
        }
        // The runner has a descriptor of its own now; ours must be gone before it can close the connection.
        drop(client);
        let mut answered = timeout(SILENCE, &mut answer).await;
        if answered.is_err() {
            if self.last_heard.get().is_none_or(|heard| heard < sent_at) && self.mark_silent(thread) {
                thread.failed(self.key, self.start_id);
            }
            on_silence();
            answered = Ok(answer.await);
        }
        match answered {
            Ok(Ok(Answer::Taken)) => {
                if let Some(load) = thread.load(self.key, self.start_id) {
                    load.opened();
                    load.succeeded();
                    load.measured(sent_at.elapsed(), thread.shared.now());
                }
                Offered::Taken
            }
            Ok(Ok(Answer::GivenBack { client, reason, detail })) => {
                if is_failure(reason) {
                    thread.failed(self.key, self.start_id);
                }
                Offered::GivenBack { client, reason, detail }
            }
            _ => Offered::Lost,
        }
    }

    /// Returns whether it was not silent before.
    fn mark_silent(&self, thread: &Thread) -> bool {
        let is_new = !self.is_retired.get() && !self.is_silent.replace(true);
        if is_new {
            tracing::warn!(instance = ?self.key, "a runner does not answer; it gets no more clients until it does");
            thread.runners.silent.borrow_mut().push(self.key);
            thread.shared.tell(ProxyEvent::RunnerSilent { key: self.key });
        }
        is_new
    }

    fn unmark_silent(&self, thread: &Thread) {
        if self.is_silent.replace(false) {
            thread.runners.silent.borrow_mut().retain(|key| *key != self.key);
            thread.changed.notify_waiters();
        }
    }
}

fn not_sent(client: Client, error: &io::Error) -> Offered {
    Offered::NotSent { client, detail: format!("its runner cannot be reached: {error}") }
}

/// Sends one offer. `TimedOut`: the runner does not read its socket.
async fn send(thread: &Thread, channel: &Channel, client: &Client, why: Reason) -> io::Result<()> {
    let offer = Down::Offer(Offer {
        connection_id: client.connection_id,
        client: client.peer,
        strategy: why.strategy.to_string(),
        rule: why.rule,
        head_len: client.head_len,
        attempt: why.attempt,
    });
    let descriptor = client.stream.as_fd();
    let copy = {
        let mut message = thread.message.borrow_mut();
        encode(&mut message, &offer, &[&client.bytes]).map_err(io::Error::other)?;
        match channel.try_send(&message, Some(descriptor)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => message.clone(),
            sent => return sent,
        }
    };
    timeout(SILENCE, channel.send(&copy, Some(descriptor))).await?
}

/// Reads a runner's answers until it ends or is retired and owes none.
async fn read(thread: Rc<Thread>, link: Rc<Link>, channel: Rc<Channel>) {
    while !(link.is_retired.get() && link.pending.borrow().is_empty()) {
        // A fresh buffer each time, as large as the message: a channel that is quiet, and most are, holds none.
        let mut buffer = Vec::new();
        let received = tokio::select! {
            received = channel.recv(&mut buffer) => received,
            () = link.retire.notified() => continue,
        };
        match received {
            Ok(Some(Received { descriptor })) => {
                link.last_heard.set(Some(Instant::now()));
                if link.is_silent.get() {
                    link.unmark_silent(&thread);
                    thread.shared.tell(ProxyEvent::RunnerAnswers { key: link.key });
                }
                match decode::<Up>(&buffer) {
                    Ok((up, raw)) => dispatch(&thread, &link, up, raw, descriptor),
                    Err(error) => {
                        tracing::warn!(instance = ?link.key, %error, "a runner's answer cannot be read");
                    }
                }
            }
            Ok(None) => break,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(instance = ?link.key, %error, "a runner's message was thrown away");
            }
            Err(error) => {
                tracing::warn!(instance = ?link.key, %error, "failed to read a runner's answers");
                break;
            }
        }
    }
    link.has_ended.set(true);
    link.unmark_silent(&thread);
    thread.runners.remove(&link);
    // Who still waits for an answer is told that none will come.
    link.pending.borrow_mut().clear();
    thread.changed.notify_waiters();
}

/// Passes an answer to the task that waits for it.
fn dispatch(thread: &Rc<Thread>, link: &Rc<Link>, up: Up, raw: &[u8], descriptor: Option<OwnedFd>) {
    match up {
        Up::Taken { connection_id } => {
            if let Some(waiting) = link.pending.borrow_mut().remove(&connection_id) {
                // Nobody receives it when the shutdown has cut the task off; the client is the runner's all the same.
                let _ = waiting.send(Answer::Taken);
            }
        }
        Up::GivenBack { offer, reason, detail } => {
            let waiting = link.pending.borrow_mut().remove(&offer.connection_id);
            thread.shared.tell(ProxyEvent::GivenBack { key: link.key, reason });
            match (client_of(&offer, raw, descriptor), waiting) {
                (Ok(client), Some(waiting)) => {
                    let _ = waiting.send(Answer::GivenBack { client, reason, detail });
                }
                // Taken first and given back later: the client is routed anew, without this runner.
                (Ok(client), None) => {
                    if let Some(load) = thread.load(link.key, link.start_id) {
                        load.closed();
                    }
                    if is_failure(reason) {
                        thread.failed(link.key, link.start_id);
                    }
                    let again =
                        client::serve_given_back(Rc::clone(thread), client, link.key, offer.attempt, detail);
                    thread.tasks.spawn_local(again);
                }
                (Err(error), _) => {
                    tracing::warn!(instance = ?link.key, %error, "a client given back is lost");
                }
            }
        }
        Up::Willing { .. } | Up::Unwilling { .. } => {
            tracing::warn!(instance = ?link.key, "a runner answered what was not asked");
        }
    }
}

/// The client of a socket that was given back.
fn client_of(offer: &Offer, raw: &[u8], descriptor: Option<OwnedFd>) -> io::Result<Client> {
    let descriptor = descriptor.ok_or_else(|| io::Error::other("its socket did not come with it"))?;
    if offer.head_len > raw.len() {
        return Err(io::Error::other("its request head did not come with it"));
    }
    let stream = std::net::TcpStream::from(descriptor);
    stream.set_nonblocking(true)?;
    Ok(Client {
        connection_id: offer.connection_id,
        stream: TcpStream::from_std(stream)?,
        peer: offer.client,
        bytes: raw.to_vec(),
        head_len: offer.head_len,
        permit: None,
    })
}
