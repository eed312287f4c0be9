//! What the engine can be asked.

use crate::connections::{Audience, Disconnect, Notification};
use crate::handle::{RestartMode, StopAll};
use crate::once::{Made, Once};
use myagent_core::error::Problem;
use myagent_core::health::HealthRecord;
use myagent_core::request::NewService;
use myagent_core::routing::Rule;
use myagent_core::service::Desired;
use myagent_core::update::Update;
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
        once: Option<Once>,
        who: String,
        answer: Answer<(Arc<ServiceView>, Made)>,
    },
    Update {
        name: String,
        update: Box<Update>,
        expected: Option<u64>,
        who: String,
        answer: Answer<Arc<ServiceView>>,
    },
    Unregister {
        name: String,
        expected: Option<u64>,
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
        once: Option<Once>,
        who: String,
        answer: Answer<(Rule, Made)>,
    },
    ChangeRule {
        name: String,
        body: Value,
        whole: bool,
        expected: Option<u64>,
        who: String,
        answer: Answer<Rule>,
    },
    DeleteRule {
        name: String,
        expected: Option<u64>,
        who: String,
        answer: Answer<()>,
    },
    ShutDown {
        instances: StopAll,
        who: String,
        answer: Answer<()>,
    },
}
