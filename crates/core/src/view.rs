//! What people and programs are shown of services and instances: the JSON of the API and of `--format json`.

use crate::config::ServiceConfig;
use crate::health::Health;
use crate::ids::{ConnectionId, ServiceId};
use crate::instance::{Exit, InstanceState};
use crate::routing::{PoolKind, Rule};
use crate::service::{Desired, Source};
use crate::wire::sessions::SessionTotals;
use crate::wire::sums::{Peaks, Totals, Traffic};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use utoipa::ToSchema;

/// A routing rule, with what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RuleView {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// What went by it, since it has its name.
    #[serde(default)]
    pub stats: Traffic,
    /// What it names that is not there now, as sentence fragments with the field before them.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A service with everything that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceView {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub service_id: ServiceId,
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// What it runs.
    pub source: Source,
    /// Address of its instances.
    pub host: String,
    /// Port of its first instance, or the fixed one.
    pub port: Option<u16>,
    /// The fixed port, if it was given one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_port: Option<u16>,
    /// WebSocket URL of its first instance, without the proxy.
    pub endpoint: Option<String>,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// `file`, `command` or `external`.
    pub agent_type: String,
    /// Counts the changes to its registration.
    pub version: u64,
    /// Running if one instance is, else the worst.
    pub status: InstanceState,
    /// What the user wants.
    pub desired: Desired,
    /// Something that runs was started before a change that only a restart puts into force.
    #[serde(default)]
    pub restart_required: bool,
    /// How many copies are wanted.
    pub replicas: u32,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its longest running instance was started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When an instance was last checked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_health_check: Option<Timestamp>,
    /// What is wrong, if something is.
    pub error_message: Option<String>,
    /// Restarts of all its instances.
    pub restart_count: u32,
    /// Its settings.
    pub config: ServiceConfig,
    /// Its variables given in the clear.
    pub environment: BTreeMap<String, String>,
    /// The names of its secrets.
    pub secrets: BTreeSet<String>,
    /// Sums over its instances.
    pub stats: ServiceStats,
    /// The worst health of its running instances.
    pub health: Health,
    /// Its instances by index.
    pub instances: Vec<InstanceView>,
}

/// Sums over the instances of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceStats {
    /// Open connections.
    pub active_connections: u32,
    /// Sessions with and without a connection.
    pub active_sessions: u32,
    /// Those of them without a connection.
    #[serde(default)]
    pub detached_sessions: u32,
    /// The most that there was at once, since registration.
    #[serde(default)]
    pub peak: Peaks,
    /// Since registration.
    #[serde(flatten)]
    pub totals: Totals,
    /// The same of the connections that a rule routed, by the rule's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, Traffic>,
    /// What became of sessions and turns since registration; none for commands and external services, whose sessions we do
    /// not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_totals: Option<Box<SessionTotals>>,
}

/// One instance with everything that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceView {
    /// `weather-0`.
    pub name: String,
    /// From 0.
    pub index: u32,
    /// Address.
    pub host: String,
    /// Port; none for an external service or before the first start.
    pub port: Option<u16>,
    /// WebSocket URL.
    pub endpoint: Option<String>,
    /// Its state.
    pub status: InstanceState,
    /// The agent's process (for an agent file: the worker).
    pub pid: Option<u32>,
    /// The runner's process.
    pub runner_pid: Option<u32>,
    /// When it was started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it became ready.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ready_at: Option<Timestamp>,
    /// Restarts since the user's `start`.
    pub restart_count: u32,
    /// How the agent last ended.
    pub last_exit: Option<Exit>,
    /// What is wrong, if something is.
    pub error_message: Option<String>,
    /// When it will be started again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try: Option<Timestamp>,
    /// The last lines of output before it went wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// Open connections.
    pub active_connections: u32,
    /// Sessions with and without a connection.
    pub active_sessions: u32,
    /// Those of them without a connection.
    #[serde(default)]
    pub detached_sessions: u32,
    /// Since registration, also across restarts.
    #[serde(default)]
    pub totals: Totals,
    /// Of the whole process tree, percent of one core.
    pub cpu_percent: f64,
    /// Of the whole process tree, MiB.
    pub memory_mb: f64,
    /// Processes in the tree.
    pub processes: u32,
    /// Health.
    pub health: Health,
    /// When it was last checked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_health_check: Option<Timestamp>,
    /// A client waits for it, or it said something recently.
    pub busy: bool,
    /// It was started before a change that only a restart puts into force.
    #[serde(default)]
    pub restart_required: bool,
    /// Its runner speaks a protocol that this manager does not: no new clients until it is restarted.
    pub outdated: bool,
    /// How its process tree is held: `cgroup-v2`, `cgroup-v1` or `subreaper`.
    pub ownership: Option<String>,
}

/// The fleet in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FleetView {
    /// Services by state, and in `total`.
    pub services: BTreeMap<String, u32>,
    /// Instances by state.
    pub instances: BTreeMap<String, u32>,
    /// Open connections.
    pub active_connections: u32,
    /// Sessions with and without a connection.
    pub active_sessions: u32,
    /// Those of them without a connection.
    #[serde(default)]
    pub detached_sessions: u32,
    /// Health of instances that run.
    pub health: BTreeMap<String, u32>,
    /// The most that there was at once in the fleet, ever.
    #[serde(default)]
    pub peak: Peaks,
    /// Sums since registration.
    pub totals: Totals,
    /// What became of the sessions and turns of agent files since registration.
    #[serde(default)]
    pub session_totals: SessionTotals,
}

/// What an open connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionStatus {
    /// A message went either way within the last minute.
    Active,
    /// None did.
    Idle,
    /// It was asked to close.
    Closing,
}

impl ConnectionStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Active, Self::Idle, Self::Closing];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Closing => "closing",
        }
    }
}

impl fmt::Display for ConnectionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An open connection, as its runner last reported it: at most about a second old.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionView {
    /// Its id, also in the `X-MyAgent-Connection-Id` of the answer to its handshake.
    #[schema(value_type = uuid::Uuid)]
    pub connection_id: ConnectionId,
    /// The newest session seen on it.
    pub session_id: Option<String>,
    /// Address of the client.
    #[schema(value_type = String)]
    pub client_ip: IpAddr,
    /// Its port.
    pub client_port: u16,
    /// Its `User-Agent`, at most 200 bytes.
    pub user_agent: Option<String>,
    /// The service that it talks to.
    #[schema(value_type = uuid::Uuid)]
    pub target_service_id: ServiceId,
    /// The instance that it talks to: `weather-0`.
    pub instance: String,
    /// How it was routed; none: it came to the instance's own port.
    pub routing_strategy: Option<String>,
    /// The rule that routed it, if one did.
    pub rule: Option<String>,
    /// How its request came to those who might serve it; none: it came to the instance's own port, or by a version that did not say.
    pub pool: Option<PoolKind>,
    /// What it is doing.
    pub status: ConnectionStatus,
    /// When it was opened.
    #[schema(value_type = String, format = DateTime)]
    pub connected_at: Timestamp,
    /// Last message either way.
    #[schema(value_type = String, format = DateTime)]
    pub last_activity: Timestamp,
    /// Bytes to the client.
    pub bytes_sent: u64,
    /// Bytes from the client.
    pub bytes_received: u64,
    /// Messages either way.
    pub message_count: u64,
}

/// Open connections in numbers, and what rules have routed since their services were registered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionStats {
    /// How many are open.
    pub total_connections: u64,
    /// By status.
    pub by_status: BTreeMap<String, u64>,
    /// By name of the service.
    pub by_service: BTreeMap<String, u64>,
    /// By name of the instance.
    pub by_instance: BTreeMap<String, u64>,
    /// By strategy; `direct` came to the instance's own port.
    pub by_strategy: BTreeMap<String, u64>,
    /// By name of the rule that routed them.
    pub by_rule: BTreeMap<String, u64>,
    /// All connections since registration, by name of the rule that routed them.
    pub rules: BTreeMap<String, Traffic>,
}

/// What came of closing a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DisconnectView {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub connection_id: ConnectionId,
    /// It is closed; false: it was told to, and had not ended after two seconds.
    pub closed: bool,
    /// Close code that the client was sent; 1006: it was told nothing.
    pub code: u16,
    /// Reason that it was sent.
    pub reason: String,
}

/// What came of a notification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotificationView {
    /// Connections that get it: open, meant, and asked for events of our own.
    pub connections: u64,
}

/// The manager itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InfoView {
    /// `myagent-manager`.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Its data directory.
    pub data_dir: String,
    /// Open listeners by kind: `proxy` and `api`.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    pub listeners: BTreeMap<String, Vec<SocketAddr>>,
    /// Clients that wait for an instance.
    #[serde(default)]
    pub waiting_clients: u32,
    /// Plain HTTP requests that it has carried since it started.
    #[serde(default)]
    pub plain_requests: PlainRequestsView,
}

/// Plain HTTP requests for which there was an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlainRequestsView {
    /// Answered by the agent, to the end.
    pub served: u64,
    /// Not, because of the agent or of the client.
    pub failed: u64,
}

/// A new process of the manager has taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpgradeView {
    /// Its process.
    pub pid: u32,
    /// Version of its program.
    pub version: String,
    /// Version of the program before.
    pub previous_version: String,
}

/// A list, or a page of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: usize,
    /// Most items of a page.
    pub limit: usize,
    /// Items before this page.
    pub offset: usize,
    /// Whether there are items after it.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// Cuts a page out of all items.
    pub fn cut(all: Vec<T>, limit: usize, offset: usize) -> Self {
        let total = all.len();
        let items: Vec<T> = all.into_iter().skip(offset).take(limit).collect();
        let has_more = offset.saturating_add(items.len()) < total;
        Self { items, total, limit, offset, has_more }
    }
}

/// What the manager logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLevelView {
    /// `info`, or a filter like `info,myagent_proxy=debug`.
    pub level: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_what_is_before_and_after_it() {
        let page = Page::cut(vec![1, 2, 3, 4, 5], 2, 2);
        assert_eq!((page.items, page.total, page.has_more), (vec![3, 4], 5, true));
        let page = Page::cut(vec![1, 2], 10, 5);
        assert_eq!((page.items.len(), page.total, page.has_more), (0, 2, false));
    }
}
