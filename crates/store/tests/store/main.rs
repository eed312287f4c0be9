//! Stories of the store, through its public face only.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod files;
mod series;
mod tables;

use jiff::Timestamp;
use myagent_core::ServiceId;
use myagent_core::config::ServiceConfig;
use myagent_core::service::{Desired, Service, Source};
use myagent_store::{EventDraft, SecretKey, Store};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

fn key() -> SecretKey {
    SecretKey::from_bytes([7; 32])
}

fn memory() -> Store {
    Store::in_memory(key()).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_780_000_000 + second, 123_456_789).unwrap()
}

fn id(number: u128) -> ServiceId {
    ServiceId(Uuid::from_u128(number))
}

fn service(number: u128, name: &str) -> Service {
    Service {
        service_id: id(number),
        name: name.into(),
        description: "tells the weather — ☂".into(),
        source: Source::Command {
            argv: vec!["/usr/bin/node".into(), "server.js".into()],
            cwd: None,
            path: None,
        },
        host: "127.0.0.1".into(),
        port: Some(8081),
        tags: ["prod".into(), "eu".into()].into(),
        replicas: 3,
        config: ServiceConfig { max_sessions: 7, memory_limit_mb: Some(64), ..Default::default() },
        environment: [("LANG".into(), "C".into())].into(),
        secret_names: BTreeSet::new(),
        desired: Desired::Stopped,
        version: 1,
        restart_version: 0,
        created_at: at(0),
        updated_at: at(1),
    }
}

fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn draft(second: i64, service: Option<u128>) -> EventDraft {
    EventDraft {
        at: at(second),
        who: "cli".into(),
        kind: "service.registered".into(),
        service_id: service.map(id),
        service: service.map(|_| "weather".to_owned()),
        instance: None,
        why: format!("at {second}"),
    }
}
