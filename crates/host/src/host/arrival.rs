//! Clients that come: whether there is a place for them, and their first words.

use super::Inner;
use crate::connection::{Conn, serve};
use crate::event::{self, Event};
use crate::session::{Standing, parse_id};
use crate::text::quote;
use myagent_core::ConnectionId;
use myagent_core::config::ServiceConfig;
use myagent_core::drain::COME_BACK;
use myagent_core::wire::handover::Moved;
use myagent_handover::vanish::allow_slowness;
use myagent_relay::codec::MessageReader;
use myagent_relay::handshake::Upgrade;
use myagent_relay::table::Entry;
use std::rc::Rc;
use tokio::net::tcp::OwnedReadHalf;
use uuid::Uuid;

impl Inner {
    /// Answers the handshake and serves the client.
    pub(crate) async fn welcome(
        self: &Rc<Self>,
        id: ConnectionId,
        entry: Option<Entry>,
        upgrade: &Upgrade,
        stream: tokio::net::TcpStream,
        rest: &[u8],
    ) {
        if let Some(entry) = entry.as_ref().filter(|_| upgrade.wants_events()) {
            entry.want_events();
        }
        let head = upgrade.response_101(&[
            ("X-MyAgent-Service", &self.config.service),
            ("X-MyAgent-Instance", &self.config.instance),
            ("X-MyAgent-Connection-Id", &id.to_string()),
        ]);
        self.go_on(id, entry, stream, &head, rest).await;
    }

    /// Serves a client after this answer to its handshake.
    async fn go_on(
        self: &Rc<Self>,
        id: ConnectionId,
        entry: Option<Entry>,
        stream: tokio::net::TcpStream,
        head: &[u8],
        unread: &[u8],
    ) {
        let (conn, read, reader) = self.enter_conn(id, entry, stream, unread);
        self.push(&conn, |out| out.extend_from_slice(head));
        if !conn.probe {
            let content =
                quote(&format!("Connected to {}. Send user.create_session to begin.", self.config.service));
            let metadata = format!("{{\"connection_id\":\"{id}\"}}");
            self.tell(&conn, None, &Event::new(event::CONNECTED, &content).with(&metadata));
        }
        serve(Rc::clone(self), conn, read, reader).await;
    }

    /// Serves a client that comes from another runner: what that one has not sent comes first.
    pub(super) async fn go_on_with(
        self: &Rc<Self>,
        moved: Moved,
        entry: Entry,
        stream: tokio::net::TcpStream,
        raw: &[u8],
    ) {
        let (unread, unsent) = raw.split_at(moved.unread.min(raw.len()));
        let (conn, read, reader) = self.enter_conn(moved.connection_id, Some(entry), stream, unread);
        if !unsent.is_empty() {
            self.push(&conn, |out| out.extend_from_slice(unsent));
        }
        self.tell_switched(&conn, &moved);
        moved.lost.iter().for_each(|key| conn.note_lost(*key));
        for session in moved.brings.iter().flatten() {
            self.settle_in(&conn, session);
        }
        if self.stopping.get() {
            // It has come too late for the good-bye of the others.
            let (code, reason) = COME_BACK;
            conn.close(self, code, reason);
        }
        self.stir();
        serve(Rc::clone(self), conn, read, reader).await;
    }

    fn enter_conn(
        &self,
        id: ConnectionId,
        entry: Option<Entry>,
        stream: tokio::net::TcpStream,
        unread: &[u8],
    ) -> (Rc<Conn>, OwnedReadHalf, MessageReader) {
        // The rest of what is said of its socket it has from its listener. If this fails, a client may be given up before our
        // own patience with it is over.
        let _ = allow_slowness(&stream, ServiceConfig::seconds(self.config.config.slow_client_timeout));
        let (read, write) = stream.into_split();
        let conn = Rc::new(Conn::new(id, entry, write));
        let mut reader = MessageReader::new(self.config.config.max_message_kb as usize * 1024);
        reader.push(unread);
        self.conns.borrow_mut().insert(id, Rc::clone(&conn));
        (conn, read, reader)
    }

    /// The session's turn goes on while nobody listens, and takes a place that its client would take.
    pub(super) fn takes_place(&self, session: Uuid) -> bool {
        let sessions = self.sessions.borrow();
        sessions
            .get(&session)
            .is_some_and(|session| session.state.borrow().standing == Standing::DetachedBusy)
    }

    /// The client names a session in its request that has its place already.
    pub(crate) fn brings_its_place(&self, upgrade: &Upgrade) -> bool {
        let named = upgrade.query("session_id").and_then(|id| parse_id(&id));
        named.is_some_and(|session| self.takes_place(session))
    }

    /// Why no client is taken, if none is.
    pub(crate) fn why_not(&self, upgrade: &Upgrade) -> Option<&'static str> {
        if self.stopping.get() || self.table.draining() {
            Some("the instance is draining")
        } else if !self.has_worker() {
            Some("the agent's worker is not up")
        } else if self.table.is_full() && !self.brings_its_place(upgrade) {
            Some("all places of the instance are taken")
        } else {
            None
        }
    }

    /// A place among the requests whose head is being read; none: there are too many.
    pub(crate) fn pending_head(self: &Rc<Self>, limit: usize) -> Option<PendingHead> {
        let head = PendingHead { inner: Rc::clone(self) };
        self.pending_heads.set(self.pending_heads.get() + 1);
        (self.pending_heads.get() <= limit).then_some(head)
    }
}

/// A request whose head is being read.
pub(crate) struct PendingHead {
    inner: Rc<Inner>,
}

impl Drop for PendingHead {
    fn drop(&mut self) {
        self.inner.pending_heads.set(self.inner.pending_heads.get() - 1);
    }
}
