//! What the engine can be asked.

use crate::connections::{Audience, Disconnect, Notification};
use crate::handle::{EventFilter, HealthRecord, RestartMode, StopAll};
use myagent_core::error::Problem;
use myagent_core::event::Event;
use myagent_core::request::{Changes, NewService};
use myagent_core::routing::Rule;
use myagent_core::service::Desired;
use myagent_core::view::{DisconnectView, NotificationView, ServiceView};
use myagent_core::{ConnectionId, InstanceKey};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::oneshot;

pub(crate) type Answer<T> = oneshot::Sender<Result<T, Problem>>;

/// What the engine can be asked.
pub(crate) enum Command {
    Register {
        new: Box<NewService>,
        who: String,
        answer: Answer<Arc<ServiceView>>,
    },
    Update {
        name: String,
        changes: Box<Changes>,
        who: String,
        answer: Answer<Arc<ServiceView>>,
    },
    Unregister {
        name: String,
        who: String,
        answer: Answer<()>,
    },
    SetDesired {
        name: String,
        desired: Desired,
        who: String,
        answer: Answer<()>,
    },
    Restart {
        name: String,
        mode: RestartMode,
        who: String,
        answer: Answer<()>,
    },
    /// `leave`: when its clients have left.
    RestartInstance {
        key: InstanceKey,
        leave: bool,
        answer: Answer<()>,
    },
    CheckHealth {
        name: String,
        answer: Answer<Vec<HealthRecord>>,
    },
    HealthHistory {
        name: String,
        limit: usize,
        answer: Answer<Vec<HealthRecord>>,
    },
    Events {
        filter: EventFilter,
        answer: Answer<Vec<Event>>,
    },
    Disconnect {
        what: Disconnect,
        id: ConnectionId,
        who: String,
        answer: Answer<DisconnectView>,
    },
    Notify {
        what: Box<Notification>,
        to: Audience,
        who: String,
        answer: Answer<NotificationView>,
    },
    CreateRule {
        body: Value,
        who: String,
        answer: Answer<Rule>,
    },
    ChangeRule {
        name: String,
        body: Value,
        whole: bool,
        who: String,
        answer: Answer<Rule>,
    },
    DeleteRule {
        name: String,
        who: String,
        answer: Answer<()>,
    },
    ShutDown {
        instances: StopAll,
        who: String,
        answer: Answer<()>,
    },
}
