//! One example of each thing that is asked for or answered, so that every operation of the document has one.

use serde_json::{Value, json};
use std::collections::BTreeMap;

const SERVICE_ID: &str = "0199e0a4-7b7e-7c8e-9d0e-6f6a5f3f0c01";
const RULE_ID: &str = "0199e0a4-7b7e-7c8e-9d0e-6f6a5f3f0c02";
const CONNECTION_ID: &str = "0199e0a4-7b7e-7c8e-9d0e-6f6a5f3f0c03";
const THEN: &str = "2026-01-02T03:04:05Z";
const NOW: &str = "2026-01-02T04:05:06Z";

/// By the name of the schema.
pub(super) fn examples() -> BTreeMap<&'static str, Value> {
    let mut all = BTreeMap::new();
    all.extend(services());
    all.extend(rules());
    all.extend(clients());
    all.extend(manager());
    all
}

fn totals() -> Value {
    json!({
        "connections": 12, "sessions": 9, "messages_in": 120, "messages_out": 4100, "bytes_in": 20480, "bytes_out": 655_360,
        "log_lines_dropped": 0, "slow_clients": 0, "vanished_clients": 1,
    })
}

fn instance() -> Value {
    json!({
        "name": "weather-0", "index": 0, "host": "127.0.0.1", "port": 8081, "endpoint": "ws://127.0.0.1:8081/",
        "status": "running", "pid": 4242, "runner_pid": 4240, "started_at": THEN, "ready_at": THEN, "restart_count": 0,
        "last_exit": null, "error_message": null, "next_try": null, "active_connections": 2, "active_sessions": 3,
        "detached_sessions": 1, "totals": totals(), "cpu_percent": 1.5, "memory_mb": 41.2, "processes": 1, "health": "healthy",
        "last_health_check": NOW, "busy": true, "restart_required": false, "outdated": false, "ownership": "cgroup-v2",
    })
}

fn stats() -> Value {
    let mut stats = totals();
    stats["active_connections"] = json!(2);
    stats["active_sessions"] = json!(3);
    stats["detached_sessions"] = json!(1);
    stats["peak"] = json!({"connections": 7, "sessions": 9});
    stats
}

fn recent() -> Value {
    json!({
        "measured_seconds": 60, "connections": 2.0, "messages_in": 14.0, "messages_out": 420.0, "bytes_in": 2048.0,
        "bytes_out": 65_536.0, "turns_completed": 12.0, "turns_failed": 0.0,
    })
}

fn stats_answer() -> Value {
    let mut answer = stats();
    let more = json!({
        "recent": recent(), "turn_error_rate": 0.01, "average_session_seconds": 611.5,
        "average_first_response_seconds": 0.8, "restarts": 0, "cpu_percent": 1.5, "memory_mb": 41.2, "started_at": THEN,
    });
    if let (Some(answer), Value::Object(more)) = (answer.as_object_mut(), more) {
        answer.extend(more);
    }
    answer
}

fn services() -> Vec<(&'static str, Value)> {
    let source = json!({"kind": "file", "path": "/srv/agents/weather_agent.py"});
    let service = json!({
        "service_id": SERVICE_ID, "name": "weather", "description": "Knows the weather", "source": source, "host": "127.0.0.1",
        "port": 8081, "endpoint": "ws://127.0.0.1:8081/", "tags": ["chat", "eu"], "agent_type": "file", "version": 1,
        "status": "running", "desired": "running", "restart_required": false, "replicas": 1, "created_at": THEN,
        "started_at": THEN, "last_health_check": NOW, "error_message": null, "restart_count": 0, "config": {"max_sessions": 50},
        "environment": {"REGION": "eu"}, "secrets": ["API_KEY"], "stats": stats(), "health": "healthy",
        "instances": [instance()],
    });
    let summary = json!({
        "checks": 100, "failures": 1, "success_rate": 0.99, "latency_p50_ms": 1.8, "latency_p90_ms": 2.4,
        "latency_p99_ms": 9.1,
    });
    let check =
        json!({"at": NOW, "instance": "weather-0", "healthy": true, "latency_ms": 1.9, "message": null});
    let line = json!({
        "ts": NOW, "stream": "stderr", "instance": "weather-0", "line": "ERROR asked for Bern in vain", "level": "error",
    });
    let mut found = line.clone();
    found["service"] = json!("weather");
    vec![
        ("ServiceView", service),
        ("InstanceView", instance()),
        ("StatsAnswer", stats_answer()),
        (
            "NewService",
            json!({
                "name": "weather", "source": source, "description": "Knows the weather", "tags": ["chat", "eu"],
                "environment": {"REGION": "eu"}, "config": {"max_sessions": 50}, "auto_start": true,
            }),
        ),
        ("ServiceReplacement", json!({"source": source, "tags": ["chat"], "replicas": 2})),
        ("ServiceChanges", json!({"tags": ["chat", "beta"], "config": {"max_sessions": 100}})),
        ("ServiceConfig", json!({"max_sessions": 100, "stop_grace": 5})),
        ("Scale", json!({"replicas": 3})),
        ("Batch", json!({"action": "restart", "tag": "chat"})),
        ("BatchItem", json!({"name": "weather", "problem": null})),
        (
            "HealthAnswer",
            json!({
                "name": "weather", "status": "running", "health": "healthy", "last_health_check": NOW, "error_message": null,
                "summary": summary,
                "instances": [{
                    "name": "weather-0", "status": "running", "health": "healthy", "last_health_check": NOW, "busy": false,
                    "error_message": null, "summary": summary,
                }],
            }),
        ),
        ("HealthRecord", check),
        (
            "LogLine",
            json!({"ts": NOW, "stream": "stderr", "instance": "weather-0", "line": "asked for Bern"}),
        ),
    ]
}

fn rules() -> Vec<(&'static str, Value)> {
    let condition = json!({"field": "user_agent", "operator": "contains", "value": "Mobile"});
    let rule = json!({
        "rule_id": RULE_ID, "name": "mobile", "description": "", "priority": 10, "enabled": true, "conditions": [condition],
        "target_services": [], "target_tags": ["mobile"], "tag_match": "all", "target_strategy": "least_connections",
        "allow_hint": true, "created_at": THEN, "updated_at": THEN, "version": 1, "warnings": [],
        "stats": {"connections": 4, "messages_in": 40, "messages_out": 900, "bytes_in": 4096, "bytes_out": 131_072},
    });
    vec![
        ("RuleView", rule),
        (
            "NewRule",
            json!({
                "name": "mobile", "priority": 10, "conditions": [condition], "target_tags": ["mobile"],
                "target_strategy": "least_connections",
            }),
        ),
        ("RuleChanges", json!({"enabled": false})),
        (
            "DryRunRequest",
            json!({"rule": {"name": "mobile", "priority": 10, "conditions": [condition], "target_tags": ["mobile"]}}),
        ),
        (
            "DryRun",
            json!({
                "connections": 12, "omitted": 0, "matched": 4, "would_move": 3, "undecided": 1,
                "by_service": {"phones": 1, "weather": 3},
                "samples": [{
                    "connection_id": CONNECTION_ID, "client_ip": "192.0.2.7", "service": "weather", "rule": "everybody",
                    "outcome": "matched", "moves": true, "would": {"rule": "mobile", "services": ["phones"]},
                    "because": "all its conditions hold",
                }],
            }),
        ),
        (
            "ExplainRequest",
            json!({
                "path": "/?tag=chat", "client_ip": "192.0.2.7", "client_port": 50_000,
                "headers": {"User-Agent": "Example/1.0 (Mobile)"},
            }),
        ),
        (
            "Explanation",
            json!({
                "outcome": "go", "client_ip": "192.0.2.7", "instance": "weather-0", "service": "weather",
                "strategy": "least_connections", "pool": "rule", "rule": "mobile",
                "rules": [{"rule_id": RULE_ID, "name": "mobile", "priority": 10, "outcome": "matched"}],
                "candidates": [],
            }),
        ),
    ]
}

fn clients() -> Vec<(&'static str, Value)> {
    vec![
        (
            "ConnectionView",
            json!({
                "connection_id": CONNECTION_ID, "session_id": "s-1", "client_ip": "192.0.2.7", "client_port": 50_000,
                "user_agent": "Example/1.0", "target_service_id": SERVICE_ID, "instance": "weather-0",
                "routing_strategy": "round_robin", "rule": null, "pool": "default", "status": "active", "connected_at": THEN,
                "last_activity": NOW, "bytes_sent": 65_536, "bytes_received": 2048, "message_count": 210,
            }),
        ),
        (
            "ConnectionStats",
            json!({
                "total_connections": 2, "by_status": {"active": 1, "idle": 1}, "by_service": {"weather": 2},
                "by_instance": {"weather-0": 2}, "by_strategy": {"round_robin": 2}, "by_rule": {}, "rules": {},
            }),
        ),
        ("DisconnectBody", json!({"reason": "maintenance", "code": 4001, "notify_client": true})),
        (
            "DisconnectView",
            json!({"connection_id": CONNECTION_ID, "closed": true, "code": 4001, "reason": "maintenance"}),
        ),
        ("Notification", json!({"message": "restart at noon", "service": "weather", "level": "warning"})),
        ("NotificationView", json!({"connections": 3})),
    ]
}

fn manager() -> Vec<(&'static str, Value)> {
    vec![
        (
            "InfoView",
            json!({
                "name": "myagent-manager", "version": env!("CARGO_PKG_VERSION"), "pid": 4200, "started_at": THEN,
                "data_dir": "/var/lib/myagent", "listeners": {"api": ["127.0.0.1:8080"], "proxy": ["127.0.0.1:9090"]},
                "waiting_clients": 0, "plain_requests": {"served": 7, "failed": 0},
            }),
        ),
        (
            "Diagnosis",
            json!({
                "level": "warning",
                "findings": [
                    {"check": "directory", "level": "ok", "message": "/var/lib/myagent is ours alone"},
                    {
                        "check": "disk space", "level": "warning", "message": "812.0 MiB free for /var/lib/myagent",
                        "fix": "make room, or give a directory elsewhere with --data-dir",
                    },
                ],
            }),
        ),
        (
            "FleetView",
            json!({
                "services": {"total": 1, "running": 1}, "instances": {"running": 1}, "active_connections": 2,
                "active_sessions": 3, "detached_sessions": 1, "health": {"total": 1, "healthy": 1}, "totals": totals(),
                "peak": {"connections": 7, "sessions": 9},
                "session_totals": {},
            }),
        ),
        (
            "Overview",
            json!({
                "services": {"total": 2, "running": 1, "error": 1}, "instances": {"running": 1, "error": 1},
                "connections": {
                    "total_connections": 2, "by_status": {"active": 1, "idle": 1}, "by_service": {"weather": 2},
                },
                "sessions": {"active": 3, "detached": 1, "completed": 40, "failed": 1},
                "health": {"total": 2, "healthy": 1, "unknown": 1}, "restarts": 4, "cpu_percent": 1.5, "memory_mb": 41.2,
                "uptime_seconds": 3600, "recent": recent(), "problems": [], "attention_total": 1,
                "attention": [{
                    "severity": "critical", "service": "news", "instance": "news-0", "what": "error", "why": "exit code 1",
                }],
            }),
        ),
        (
            "MetricView",
            json!({
                "name": "messages_in", "kind": "counter", "unit": "messages", "meaning": "messages from clients",
                "per_instance": true, "aggregates": ["avg", "min", "max", "sum", "rate"],
            }),
        ),
        (
            "TimeseriesView",
            json!({
                "metric": "messages_in", "unit": "messages/s", "kind": "counter", "agg": "rate", "interval_seconds": 10,
                "tier": "10s", "from": 1_767_326_700, "to": 1_767_326_720,
                "series": [{"service": "weather", "points": [[1_767_326_700, 1.5], [1_767_326_710, null]]}],
            }),
        ),
        (
            "Event",
            json!({
                "id": 17, "at": NOW, "who": "cli", "kind": "service.registered", "service_id": SERVICE_ID,
                "service": "weather", "instance": null, "why": "file service",
            }),
        ),
        (
            "HealthOfManager",
            json!({
                "status": "ok", "problems": [], "version": env!("CARGO_PKG_VERSION"), "started_at": THEN, "services": {"total": 1, "running": 1},
                "active_connections": 2,
            }),
        ),
    ]
}
