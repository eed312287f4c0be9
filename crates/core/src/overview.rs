//! The fleet at a glance: its numbers, and what needs somebody's attention, the worst first, each with its cause.

use crate::health::Health;
use crate::instance::InstanceState;
use crate::recent::Recent;
use crate::view::{InstanceView, ServiceView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Most findings that are told; there are more in [`Overview::attention_total`].
pub const MAX_ATTENTION: usize = 100;
/// An instance that has so much of its places taken is nearly full.
const NEARLY_FULL: f64 = 0.9;

/// The fleet at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// Services by state, and in `total`.
    pub services: BTreeMap<String, u32>,
    /// Instances by state.
    pub instances: BTreeMap<String, u32>,
    /// Open connections.
    pub connections: ConnectionCounts,
    /// Sessions of agent files.
    pub sessions: SessionCounts,
    /// Running instances by health, and in `total`.
    pub health: BTreeMap<String, u32>,
    /// Restarts of all instances.
    pub restarts: u64,
    /// Of all process trees, percent of one core.
    pub cpu_percent: f64,
    /// Of all process trees, MiB.
    pub memory_mb: f64,
    /// How long this manager has been running.
    pub uptime_seconds: u64,
    /// The last minute.
    pub recent: Recent,
    /// What is wrong with the manager itself.
    pub problems: Vec<String>,
    /// What needs somebody's attention, the worst first; at most 100.
    pub attention: Vec<Attention>,
    /// How many there are in all.
    pub attention_total: usize,
}

/// Open connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionCounts {
    /// All of them.
    pub total_connections: u64,
    /// By status.
    pub by_status: BTreeMap<String, u64>,
    /// By name of the service.
    pub by_service: BTreeMap<String, u64>,
}

/// Sessions of agent files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionCounts {
    /// With and without a client.
    pub active: u32,
    /// Without one.
    pub detached: u32,
    /// Ended well since registration.
    pub completed: u64,
    /// Ended badly.
    pub failed: u64,
}

/// How soon somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Clients are not served.
    Critical,
    /// They may soon not be.
    Warning,
    /// Something waits to be done.
    Info,
}

/// Something that needs attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attention {
    /// How soon.
    pub severity: Severity,
    /// Of which service.
    pub service: String,
    /// Whether that is a `file`, a `command` or `external`: what can be done depends on it.
    pub agent_type: String,
    /// Of which instance.
    pub instance: String,
    /// What, as a word: `error`, `unhealthy`, `restarting`, `degraded`, `nearly_full`, `outdated`, `restart_required`.
    pub what: String,
    /// Why, in a sentence.
    pub why: String,
}

/// What the process trees of instances use together: percent of one core, and MiB, to a tenth.
pub fn usage<'a>(instances: impl IntoIterator<Item = &'a InstanceView>) -> (f64, f64) {
    let add = |(cpu, memory): (f64, f64), instance: &InstanceView| {
        (cpu + instance.cpu_percent, memory + instance.memory_mb)
    };
    let (cpu, memory) = instances.into_iter().fold((0.0, 0.0), add);
    let tenth = |value: f64| (value * 10.0).round() / 10.0;
    (tenth(cpu), tenth(memory))
}

/// What needs attention, the worst first.
pub fn attention<'a>(services: impl IntoIterator<Item = &'a ServiceView>) -> Vec<Attention> {
    let of = |service: &'a ServiceView| {
        service.instances.iter().filter_map(move |instance| {
            let (severity, what, why) = finding(service, instance)?;
            let (agent_type, instance) = (service.agent_type.clone(), instance.name.clone());
            let service = service.name.clone();
            Some(Attention { severity, service, agent_type, instance, what: what.to_owned(), why })
        })
    };
    let mut found: Vec<Attention> = services.into_iter().flat_map(of).collect();
    // Stable: by service and instance within a severity.
    found.sort_by_key(|attention| attention.severity);
    found
}

/// The worst that is to be said of an instance.
fn finding(service: &ServiceView, instance: &InstanceView) -> Option<(Severity, &'static str, String)> {
    let cause = |otherwise: &str| instance.error_message.clone().unwrap_or_else(|| otherwise.to_owned());
    match instance.status {
        InstanceState::Error => return Some((Severity::Critical, "error", cause("no cause is known"))),
        InstanceState::Unhealthy => {
            return Some((Severity::Critical, "unhealthy", cause("its health checks fail")));
        }
        InstanceState::Starting if instance.restart_count > 0 => {
            let why =
                cause(&format!("it ended and is started again, {} times so far", instance.restart_count));
            return Some((Severity::Warning, "restarting", why));
        }
        InstanceState::Running => {}
        InstanceState::Starting | InstanceState::Stopping | InstanceState::Stopped => return None,
    }
    if instance.health == Health::Degraded {
        let why = format!(
            "it is near a limit of the service: {} MiB, {} % of a core",
            instance.memory_mb, instance.cpu_percent
        );
        return Some((Severity::Warning, "degraded", why));
    }
    let (open, places) = (instance.active_connections, service.config.max_sessions);
    if places > 0 && f64::from(open) >= f64::from(places) * NEARLY_FULL {
        let why = format!("{open} of {places} places (max_sessions) are taken");
        return Some((Severity::Warning, "nearly_full", why));
    }
    if instance.outdated {
        let why = "its runner is of a version that gets no new clients; restart it".to_owned();
        return Some((Severity::Warning, "outdated", why));
    }
    if instance.restart_required {
        let why = "it was started before a change that waits for a restart".to_owned();
        return Some((Severity::Info, "restart_required", why));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(name: &str, instance: &serde_json::Value) -> ServiceView {
        let mut view = json!({
            "name": format!("{name}-0"), "index": 0, "host": "127.0.0.1", "port": null, "endpoint": null, "status": "running",
            "pid": null, "runner_pid": null, "started_at": null, "ready_at": null, "restart_count": 0, "last_exit": null,
            "error_message": null, "next_try": null, "active_connections": 0, "active_sessions": 0, "cpu_percent": 0.0,
            "memory_mb": 0.0, "processes": 1, "health": "healthy", "last_health_check": null, "busy": false, "outdated": false,
            "ownership": null,
        });
        for (key, value) in instance.as_object().unwrap() {
            view[key] = value.clone();
        }
        serde_json::from_value(json!({
            "service_id": uuid::Uuid::nil(), "name": name, "description": "", "source": {"kind": "file", "path": "/a.py"},
            "host": "127.0.0.1", "port": null, "endpoint": null, "tags": [], "agent_type": "file", "version": 1,
            "status": "running", "desired": "running", "replicas": 1, "created_at": "1970-01-01T00:00:00Z",
            "started_at": null, "last_health_check": null, "error_message": null, "restart_count": 0,
            "config": {"max_sessions": 10}, "environment": {}, "secrets": [], "health": "unknown", "instances": [view],
            "stats": {
                "active_connections": 0, "active_sessions": 0, "connections": 0, "sessions": 0, "messages_in": 0,
                "messages_out": 0, "bytes_in": 0, "bytes_out": 0, "log_lines_dropped": 0
            },
        }))
        .unwrap()
    }

    #[test]
    fn the_worst_comes_first_with_its_cause_and_what_is_well_is_not_told() {
        let services = [
            service("well", &json!({"active_connections": 8})),
            service("waits", &json!({"restart_required": true})),
            service("old", &json!({"outdated": true, "restart_required": true})),
            service("full", &json!({"active_connections": 9})),
            service("heavy", &json!({"health": "degraded", "memory_mb": 81.5})),
            service("flaps", &json!({"status": "starting", "restart_count": 2})),
            service("begins", &json!({"status": "starting"})),
            service("ends", &json!({"status": "stopping"})),
            service("ill", &json!({"status": "unhealthy"})),
            service("broken", &json!({"status": "error", "error_message": "exit code 3"})),
        ];
        let found = attention(&services);
        assert!(found.iter().all(|found| found.agent_type == "file"));
        let told: Vec<String> = found
            .iter()
            .map(|found| format!("{:?} {} {}: {}", found.severity, found.instance, found.what, found.why))
            .collect();
        assert_eq!(
            told,
            [
                "Critical ill-0 unhealthy: its health checks fail",
                "Critical broken-0 error: exit code 3",
                "Warning old-0 outdated: its runner is of a version that gets no new clients; restart it",
                "Warning full-0 nearly_full: 9 of 10 places (max_sessions) are taken",
                "Warning heavy-0 degraded: it is near a limit of the service: 81.5 MiB, 0 % of a core",
                "Warning flaps-0 restarting: it ended and is started again, 2 times so far",
                "Info waits-0 restart_required: it was started before a change that waits for a restart",
            ]
        );
    }
}
