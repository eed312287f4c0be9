//! What only runners can do: close a connection, tell clients something. The engine sends the requests on; who waits for
//! their answers does not hold it up.

use crate::connections::{Audience, Disconnect, Notification, unknown_connection};
use crate::engine::{Answer, Engine};
use myagent_core::error::Problem;
use myagent_core::view::{DisconnectView, NotificationView};
use myagent_core::wire::control::{Answer as Told, CLOSES_WITHIN, Request};
use myagent_core::{ConnectionId, InstanceKey};
use myagent_supervisor::{Command as InstanceCommand, InstanceHandle, OpenConnections};
use serde_json::json;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// How long a runner may take to answer, beyond what it waits for itself.
const SLACK: Duration = Duration::from_secs(2);
/// Characters of a notification in the events.
const EXCERPT: usize = 200;

/// An instance to ask.
type Instance = (InstanceKey, InstanceHandle);

impl Engine {
    /// Instances that may have this connection, the one that is known to have it first.
    fn instances_for(&self, id: ConnectionId) -> (Option<InstanceKey>, Vec<Instance>) {
        let owner = self.deps.connections.read(|connections| connections.owner(id));
        let mut all = self.instances(|_| true);
        all.sort_by_key(|(key, _)| Some(*key) != owner);
        (owner, all)
    }

    fn instances(&self, wanted: impl Fn(InstanceKey) -> bool) -> Vec<Instance> {
        let slots = self.fleet.services.iter().flat_map(|(service_id, entry)| {
            let service_id = *service_id;
            entry.slots.iter().map(move |(index, slot)| (InstanceKey { service_id, index: *index }, slot))
        });
        let running = slots.filter(|(key, slot)| slot.observed.runner.is_some() && wanted(*key));
        running.map(|(key, slot)| (key, slot.handle.clone())).collect()
    }

    pub(crate) fn disconnect(
        &mut self,
        what: Disconnect,
        id: ConnectionId,
        who: &str,
        answer: Answer<DisconnectView>,
    ) {
        let (owner, instances) = self.instances_for(id);
        if let Some(key) = owner {
            let how =
                if what.notify_client { format!("with {}", what.code) } else { "without a word".into() };
            let why = format!("connection {id} is closed {how} ({}), asked for by {who}", what.reason);
            self.record(who, "connection.disconnect", Some(key.service_id), Some(key.index), why);
        }
        let connections = self.deps.connections.clone();
        self.work.spawn(async move {
            // The asker may have left.
            let _ = answer.send(disconnect(&connections, owner, &instances, what, id).await);
        });
    }

    pub(crate) fn notify(
        &mut self,
        what: &Notification,
        to: Audience,
        who: &str,
        answer: Answer<NotificationView>,
    ) {
        let (connection_id, service, instances) = match to {
            Audience::Everyone => (None, None, self.instances(|_| true)),
            Audience::Service(id) => (None, Some(id), self.instances(|key| key.service_id == id)),
            Audience::Connection(id) => {
                let (owner, instances) = self.instances_for(id);
                (Some(id), owner.map(|key| key.service_id), instances)
            }
        };
        let excerpt: String = what.message.chars().take(EXCERPT).collect();
        self.record(who, "notification.sent", service, None, format!("asked for by {who}: {excerpt}"));
        let members = members(what, self.clock.now());
        self.work.spawn(async move {
            let _ = answer.send(notify(&instances, connection_id, members).await);
        });
    }
}

/// The members of the event after its name and its connection.
fn members(what: &Notification, now: jiff::Timestamp) -> String {
    let (now, content, metadata) = (json!(now), json!(what.message), json!({"level": what.level}));
    format!("\"timestamp\":{now},\"content\":{content},\"metadata\":{metadata}")
}

async fn disconnect(
    connections: &OpenConnections,
    owner: Option<InstanceKey>,
    instances: &[Instance],
    what: Disconnect,
    id: ConnectionId,
) -> Result<DisconnectView, Problem> {
    let request =
        Request::Disconnect { connection_id: id, code: what.wire_code(), reason: what.reason.clone() };
    let view =
        |closed| DisconnectView { connection_id: id, closed, code: what.wire_code(), reason: what.reason };
    // First the one that should have it; it may have gone on in another one meanwhile.
    let (first, others) = instances.split_at(usize::from(owner.is_some()).min(instances.len()));
    if owner.is_some() {
        connections.write(|connections| connections.set_closing(id));
    }
    for group in [first, others] {
        for heard in ask(group, &request).await {
            match heard {
                Heard::Answer(Told::Disconnected { closed }) => {
                    if closed {
                        connections.write(|connections| connections.remove(id));
                    }
                    return Ok(view(closed));
                }
                // Of an earlier version, which does not wait for the end.
                Heard::Answer(Told::Done) => return Ok(view(false)),
                Heard::Late if owner.is_some_and(|owner| group.iter().any(|(key, _)| *key == owner)) => {
                    return Ok(view(false));
                }
                Heard::Answer(_) | Heard::Late | Heard::Gone => {}
            }
        }
    }
    Err(unknown_connection(&id.to_string()))
}

async fn notify(
    instances: &[Instance],
    connection_id: Option<ConnectionId>,
    members: String,
) -> Result<NotificationView, Problem> {
    let told = ask(instances, &Request::Notify { connection_id, members }).await;
    let mut found = connection_id.is_none();
    let mut view = NotificationView::default();
    for heard in told {
        if let Heard::Answer(Told::Notified { clients }) = heard {
            found = true;
            view.connections += u64::from(clients);
        }
    }
    match connection_id {
        Some(id) if !found => Err(unknown_connection(&id.to_string())),
        _ => Ok(view),
    }
}

/// What became of a request to a runner.
enum Heard {
    /// It answered.
    Answer(Told),
    /// It did not in time, or has too much to do.
    Late,
    /// It has ended, or cannot be talked to.
    Gone,
}

/// Asks all of them at once.
async fn ask(instances: &[Instance], request: &Request) -> Vec<Heard> {
    let until = Instant::now() + CLOSES_WITHIN + SLACK;
    let mut waiting = Vec::with_capacity(instances.len());
    for (_, handle) in instances {
        let (answer, told) = oneshot::channel();
        waiting.push(handle.send(InstanceCommand::Ask(request.clone(), answer)).then_some(told));
    }
    let mut all = Vec::with_capacity(waiting.len());
    for told in waiting {
        let Some(told) = told else {
            all.push(Heard::Late);
            continue;
        };
        all.push(match timeout_at(until, told).await {
            Ok(Ok(told)) => Heard::Answer(told),
            Ok(Err(_)) => Heard::Gone,
            Err(_) => Heard::Late,
        });
    }
    all
}
