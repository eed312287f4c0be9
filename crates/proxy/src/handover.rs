//! Offering clients to runners: one take-over channel per runner, opened when the first client is for it.
//!
//! An offer moves the client: once it is sent our own descriptor is closed, what is known of its way waits in the runner's
//! table of pending offers, and only the runner's answer says what became of it: taken, or given back with its socket, and
//! then it goes on from here. A task per channel reads the answers. A runner that leaves an offer unanswered for a second is
//! *silent* and gets no more until it says something. Who is tried next is not decided here.

use crate::ProxyEvent;
use crate::client::{Client, Socket};
use crate::head;
use crate::journey::{Journey, is_failure};
use crate::route;
use crate::thread::Thread;
use myagent_core::routing::{PoolKind, RoutedInstance, RoutingSnapshot, Strategy};
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
use tokio::sync::{Notify, OnceCell};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::task_tracker::TaskTrackerToken;

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
    pending: RefCell<HashMap<ConnectionId, Pending>>,
    /// Somebody looks whether they are answered in time.
    is_watched: Cell<bool>,
    last_heard: Cell<Option<Instant>>,
    is_silent: Cell<bool>,
    /// No longer in the snapshot: ends when nothing is pending.
    is_retired: Cell<bool>,
    /// Its channel is no longer read.
    has_ended: Cell<bool>,
    retire: Notify,
}

/// What is known of a client in the hands of a runner that has not answered yet.
struct Pending {
    journey: Journey,
    /// The session that the client names.
    session: Option<String>,
    sent_at: Instant,
    /// It was noticed that the answer is late.
    is_late: bool,
    /// A shutdown waits for the answer.
    #[expect(dead_code, reason = "held, not read")]
    token: TaskTrackerToken,
}

/// What became of sending an offer.
pub(crate) enum Offered {
    /// The client is the runner's, or on its way back.
    Sent,
    /// It could not be sent; the client is still here.
    NotSent(Box<(Client, Journey)>),
}

/// Why a client is offered to a runner, as the runner is told.
pub(crate) struct Reason {
    pub(crate) strategy: Strategy,
    /// The name of the rule that matched.
    pub(crate) rule: Option<String>,
    /// How it came to the pool that the instance is of.
    pub(crate) pool: PoolKind,
    /// Which offer of this client it is.
    pub(crate) attempt: u32,
    /// The session that the client names.
    pub(crate) session: Option<String>,
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
                is_watched: Cell::new(false),
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
    /// Which start of which instance it is.
    pub(crate) fn id(&self) -> (InstanceKey, StartId) {
        (self.key, self.start_id)
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

    /// Offers a client now, if the channel is open and has room; otherwise the client is returned.
    pub(crate) fn try_offer(
        self: &Rc<Self>,
        thread: &Rc<Thread>,
        client: Client,
        why: Reason,
    ) -> Result<(), Box<(Client, Reason)>> {
        let Some(channel) = self.channel.get().filter(|_| !self.has_ended.get()) else {
            return Err(Box::new((client, why)));
        };
        let sent = {
            let mut message = thread.message.borrow_mut();
            encode(&mut message, &offer_of(&client, &why), &[&client.bytes])
                .map_err(io::Error::other)
                .and_then(|()| channel.try_send(&message, Some(client.socket.as_fd())))
        };
        match sent {
            Ok(()) => {
                self.note_sent(thread, client, why.session, Journey::default());
                Ok(())
            }
            // The long way finds out what is wrong.
            Err(_) => Err(Box::new((client, why))),
        }
    }

    /// Offers a client, and waits until that is sent.
    pub(crate) async fn offer(
        self: &Rc<Self>,
        thread: &Rc<Thread>,
        client: Client,
        why: Reason,
        mut journey: Journey,
    ) -> Offered {
        let sent = async {
            let channel = self.channel(thread).await?;
            let mut message = Vec::new();
            encode(&mut message, &offer_of(&client, &why), &[&client.bytes]).map_err(io::Error::other)?;
            // `TimedOut`: the runner does not read its socket.
            timeout(SILENCE, channel.send(&message, Some(client.socket.as_fd()))).await?
        };
        match sent.await {
            Ok(()) => {
                self.note_sent(thread, client, why.session, journey);
                Offered::Sent
            }
            Err(error) => {
                if !self.channel.initialized() {
                    thread.runners.remove(self);
                }
                thread.counters.unreached();
                thread.failed(self.key, self.start_id);
                if error.kind() == io::ErrorKind::TimedOut {
                    self.mark_silent(thread);
                }
                journey.not_reached(self.key, format!("its runner cannot be reached: {error}"));
                Offered::NotSent(Box::new((client, journey)))
            }
        }
    }

    /// The runner has a descriptor of its own now; ours must be gone before it can close the connection.
    fn note_sent(
        self: &Rc<Self>,
        thread: &Rc<Thread>,
        client: Client,
        session: Option<String>,
        journey: Journey,
    ) {
        thread.shared.admission.clients.handed_over(client.connection_id, client.peer.ip());
        let (token, sent_at) = (thread.tasks.token(), Instant::now());
        thread.counters.handed_over(client.since, sent_at);
        let pending = Pending { journey, session, sent_at, is_late: false, token };
        self.pending.borrow_mut().insert(client.connection_id, pending);
        drop(client);
        if !self.is_watched.replace(true) {
            spawn_local(watch(Rc::clone(thread), Rc::clone(self)));
        }
    }

    /// Notes the offers that are unanswered for too long; when to look again, if any is pending.
    fn look_for_late(&self, thread: &Thread) -> Option<Instant> {
        let now = Instant::now();
        let (mut next, mut unheard) = (None::<Instant>, false);
        for pending in self.pending.borrow_mut().values_mut().filter(|pending| !pending.is_late) {
            let due = pending.sent_at + SILENCE;
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            pending.is_late = true;
            // The next in the queue need not wait for this answer.
            pending.journey.place = None;
            unheard |= self.last_heard.get().is_none_or(|heard| heard < pending.sent_at);
        }
        if unheard && self.mark_silent(thread) {
            thread.failed(self.key, self.start_id);
        }
        next
    }

    /// Returns whether it was not silent before.
    fn mark_silent(&self, thread: &Thread) -> bool {
        let is_new = !self.is_retired.get() && !self.is_silent.replace(true);
        if is_new {
            tracing::warn!(instance = ?self.key, "a runner does not answer; it gets no more clients until it does");
            thread.runners.silent.borrow_mut().push(self.key);
            thread.counters.silent();
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

fn offer_of(client: &Client, why: &Reason) -> Down {
    Down::Offer(Offer {
        connection_id: client.connection_id,
        client: client.peer,
        strategy: why.strategy.to_string(),
        rule: why.rule.clone(),
        pool: Some(why.pool),
        head_len: client.head_len,
        attempt: why.attempt,
    })
}

/// Looks for offers that are not answered in time, for as long as any is pending.
async fn watch(thread: Rc<Thread>, link: Rc<Link>) {
    while let Some(at) = link.look_for_late(&thread) {
        sleep_until(at).await;
    }
    link.is_watched.set(false);
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

/// Does what an answer says.
fn dispatch(thread: &Rc<Thread>, link: &Rc<Link>, up: Up, raw: &[u8], descriptor: Option<OwnedFd>) {
    match up {
        Up::Taken { connection_id } => {
            let Some(pending) = link.pending.borrow_mut().remove(&connection_id) else { return };
            if let Some(session) = pending.session {
                thread.shared.sessions.taken(&session, link.key);
            }
            if let Some(load) = thread.load(link.key, link.start_id) {
                load.opened();
                load.succeeded();
                load.measured(pending.sent_at.elapsed(), thread.shared.now());
            }
        }
        Up::GivenBack { offer, reason, detail } => {
            let pending = link.pending.borrow_mut().remove(&offer.connection_id);
            thread.shared.admission.clients.given_back(offer.connection_id);
            thread.counters.given_back(reason);
            thread.shared.tell(ProxyEvent::GivenBack { key: link.key, reason });
            if is_failure(reason) {
                thread.failed(link.key, link.start_id);
            }
            if let Err(error) = go_on(thread, link, &offer, (reason, detail), (raw, descriptor), pending) {
                tracing::warn!(instance = ?link.key, %error, "a client given back is lost");
            }
        }
        Up::Willing { .. } | Up::Unwilling { .. } => {
            tracing::warn!(instance = ?link.key, "a runner answered what was not asked");
        }
    }
}

/// A client is here again: it goes on to the next instance, or waits, or is refused.
fn go_on(
    thread: &Rc<Thread>,
    link: &Rc<Link>,
    offer: &Offer,
    (reason, detail): (Refusal, String),
    (raw, descriptor): (&[u8], Option<OwnedFd>),
    pending: Option<Pending>,
) -> io::Result<()> {
    let client = client_of(thread, offer, raw, descriptor)?;
    let unreadable = || io::Error::other("its request head cannot be read");
    let head = head::parse(&client.bytes).ok().flatten().ok_or_else(unreadable)?;
    let journey = if let Some(Pending { mut journey, .. }) = pending {
        journey.given_back(link.key, reason, detail);
        journey
    } else {
        // Taken first and given back later: the client is routed anew, without this runner.
        if let Some(load) = thread.load(link.key, link.start_id) {
            load.closed();
        }
        Journey::after(offer.attempt, link.key, detail)
    };
    thread.tasks.spawn_local(route::route(Rc::clone(thread), client, head, journey, None));
    Ok(())
}

/// The client of a socket that was given back.
fn client_of(thread: &Thread, offer: &Offer, raw: &[u8], descriptor: Option<OwnedFd>) -> io::Result<Client> {
    let descriptor = descriptor.ok_or_else(|| io::Error::other("its socket did not come with it"))?;
    if offer.head_len > raw.len() {
        return Err(io::Error::other("its request head did not come with it"));
    }
    rustix::io::ioctl_fionbio(&descriptor, true)?;
    Ok(Client {
        connection_id: offer.connection_id,
        socket: Socket::Plain(descriptor),
        peer: offer.client,
        bytes: raw.to_vec(),
        head_len: offer.head_len,
        since: Instant::now(),
        seat: thread.crowd.seat(),
    })
}
