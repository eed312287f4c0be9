//! What a user asks for: registering and updating a service, as the API and the CLI send it.

use crate::config::ServiceConfig;
use crate::error::FieldError;
use crate::service::{Service, Source};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use utoipa::ToSchema;

/// The settings of the prototype that are also accepted at the top level of a request.
pub const FLAT_CONFIG: &[&str] = &[
    "max_sessions",
    "session_timeout",
    "auto_restart",
    "health_check_interval",
    "health_check_enabled",
    "max_restart_count",
];

/// A service to register.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewService {
    /// Its name.
    pub name: String,
    /// What to run.
    pub source: Source,
    /// Everything that has a default.
    #[serde(flatten)]
    pub options: Options,
    /// Start it now (and whenever the manager starts).
    #[serde(default)]
    pub auto_start: bool,
}

/// What can be left out when registering, and changed later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Options {
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Address of its instances, default 127.0.0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Fixed port; 0: back to a free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Tags (all of them).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeSet<String>>,
    /// Variables; an update replaces those named, `null` removes one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Option<String>>,
    /// Secrets; as with `environment`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Option<String>>,
    /// Copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Settings by key.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
}

/// Changes to a registered service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Changes {
    /// Run something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// All the rest.
    #[serde(flatten)]
    pub options: Options,
}

impl NewService {
    /// Reads a request body; accepts the prototype's forms (`agent_factory_path`, flat settings) and names every field at
    /// fault.
    pub fn from_json(body: Value) -> Result<Self, Vec<FieldError>> {
        let mut map = object(body)?;
        if let (Some(path), false) = (map.remove("agent_factory_path"), map.contains_key("source")) {
            map.insert("source".to_owned(), serde_json::json!({"kind": "file", "path": path}));
        }
        let mut errors = lift_flat(&mut map);
        check_keys(&map, &["name", "source", "auto_start"], &mut errors);
        for required in ["name", "source"] {
            if !map.contains_key(required) {
                errors.push(FieldError::new(required, "is missing"));
            }
        }
        finish(map, errors)
    }
}

impl Changes {
    /// Reads a request body.
    pub fn from_json(body: Value) -> Result<Self, Vec<FieldError>> {
        let mut map = object(body)?;
        let mut errors = lift_flat(&mut map);
        check_keys(&map, &["source"], &mut errors);
        finish(map, errors)
    }

    /// Makes the changes; settings at fault are named, and then nothing is changed. Secrets change only by name here.
    pub fn apply(&self, service: &mut Service) -> Result<(), Vec<FieldError>> {
        let mut changed = service.clone();
        if let Some(source) = &self.source {
            changed.source = source.clone();
        }
        if let Err(errors) = self.options.apply(&mut changed) {
            return Err(with_others(errors, &changed));
        }
        *service = changed;
        Ok(())
    }
}

impl Options {
    /// Puts what is given into `service`.
    pub fn apply(&self, service: &mut Service) -> Result<(), Vec<FieldError>> {
        if let Some(description) = &self.description {
            service.description.clone_from(description);
        }
        if let Some(host) = &self.host {
            service.host.clone_from(host);
        }
        if let Some(port) = self.port {
            service.port = (port != 0).then_some(port);
        }
        if let Some(tags) = &self.tags {
            service.tags.clone_from(tags);
        }
        if let Some(replicas) = self.replicas {
            service.replicas = replicas;
        }
        for (name, value) in &self.environment {
            match value {
                Some(value) => service.environment.insert(name.clone(), value.clone()),
                None => service.environment.remove(name),
            };
        }
        for (name, value) in &self.secrets {
            if value.is_some() {
                service.secret_names.insert(name.clone());
            } else {
                service.secret_names.remove(name);
            }
        }
        let mut config = service.config.clone();
        let errors = set_all(&mut config, &self.config);
        if errors.is_empty() {
            service.config = config;
            Ok(())
        } else {
            Err(errors)
        }
    }
}

/// Faults of settings, and those of everything else.
pub(crate) fn with_others(mut errors: Vec<FieldError>, service: &Service) -> Vec<FieldError> {
    errors.extend(service.validate().err().unwrap_or_default());
    errors
}

fn set_all(config: &mut ServiceConfig, settings: &Map<String, Value>) -> Vec<FieldError> {
    settings.iter().filter_map(|(name, value)| config.set(name, value).err()).collect()
}

fn object(body: Value) -> Result<Map<String, Value>, Vec<FieldError>> {
    match body {
        Value::Object(map) => Ok(map),
        other => Err(vec![FieldError::new("body", format!("must be a JSON object, not {}", kind(&other)))]),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn lift_flat(map: &mut Map<String, Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for name in FLAT_CONFIG {
        if let Some(value) = map.remove(*name) {
            let config = map.entry("config").or_insert_with(|| Value::Object(Map::new()));
            match config {
                Value::Object(config) => {
                    config.entry(*name).or_insert(value);
                }
                other => {
                    errors.push(FieldError::new("config", format!("must be an object, not {}", kind(other))));
                }
            }
        }
    }
    errors
}

fn check_keys(map: &Map<String, Value>, more: &[&str], errors: &mut Vec<FieldError>) {
    const OPTIONS: &[&str] =
        &["description", "host", "port", "tags", "environment", "secrets", "replicas", "config"];
    for name in map.keys() {
        if !more.contains(&name.as_str()) && !OPTIONS.contains(&name.as_str()) {
            let known = more.iter().chain(OPTIONS).copied().collect::<Vec<_>>().join(", ");
            errors.push(FieldError::new(name, format!("unknown field; known are {known}")));
        }
    }
}

fn are_secrets(value: &Value) -> bool {
    let is_value = |value: &Value| value.is_string() || value.is_null();
    value.as_object().is_some_and(|secrets| secrets.values().all(is_value))
}

/// Reads each field on its own so that every one at fault is named, then all together.
fn finish<T: serde::de::DeserializeOwned>(
    map: Map<String, Value>,
    mut errors: Vec<FieldError>,
) -> Result<T, Vec<FieldError>> {
    fn field<T: serde::de::DeserializeOwned>(
        map: &Map<String, Value>,
        name: &str,
        errors: &mut Vec<FieldError>,
    ) {
        if let Some(value) = map.get(name)
            && let Err(error) = serde_json::from_value::<T>(value.clone())
        {
            errors.push(FieldError::new(name, error.to_string()));
        }
    }
    field::<String>(&map, "name", &mut errors);
    match map.get("source") {
        // Serde would read a list as its fields in their order.
        Some(source) if !source.is_object() => {
            errors.push(FieldError::new("source", format!("must be an object, not {}", kind(source))));
        }
        _ => field::<Source>(&map, "source", &mut errors),
    }
    field::<bool>(&map, "auto_start", &mut errors);
    field::<Option<String>>(&map, "description", &mut errors);
    field::<Option<String>>(&map, "host", &mut errors);
    field::<Option<u16>>(&map, "port", &mut errors);
    field::<Option<BTreeSet<String>>>(&map, "tags", &mut errors);
    field::<BTreeMap<String, Option<String>>>(&map, "environment", &mut errors);
    if map.get("secrets").is_some_and(|value| !are_secrets(value)) {
        // What a reader says of a value may quote it.
        errors.push(FieldError::new("secrets", "must be an object of names with a string or null each"));
    }
    field::<Option<u32>>(&map, "replicas", &mut errors);
    field::<Map<String, Value>>(&map, "config", &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    serde_json::from_value(Value::Object(map))
        .map_err(|error| vec![FieldError::new("body", error.to_string())])
}

/// A listener that a foreground command wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenRequest {
    /// `proxy` or `api`.
    pub kind: ListenerKind,
    /// Address; port 0: any free one.
    pub address: std::net::SocketAddr,
    /// The command that wants it, for the error of the next one: `up (pid 123)`.
    pub owner: String,
}

/// The two kinds of listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerKind {
    /// Clients of agents.
    Proxy,
    /// The HTTP API and the console.
    Api,
}

impl std::fmt::Display for ListenerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Proxy => "proxy",
            Self::Api => "api",
        })
    }
}

/// The answer to a fleet-wide or batch command: what came of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BatchItem {
    /// The service.
    pub name: String,
    /// None: it worked.
    pub problem: Option<crate::error::Problem>,
}

/// A path that must be absolute: joined to the caller's directory if it is not.
pub fn absolute(cwd: &std::path::Path, path: &std::path::Path) -> PathBuf {
    let joined = if path.is_absolute() { path.to_owned() } else { cwd.join(path) };
    let mut clean = PathBuf::new();
    for part in joined.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn new(body: Value) -> Result<NewService, String> {
        NewService::from_json(body)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn the_forms_of_the_prototype_are_understood() {
        let service =
            new(json!({"name": "weather", "agent_factory_path": "/a/w.py", "max_sessions": 5, "config": {"weight": 2}})).unwrap();
        assert_eq!(service.source, Source::File { path: "/a/w.py".into(), python: None, worker: None });
        assert_eq!(Value::Object(service.options.config), json!({"max_sessions": 5, "weight": 2}));
    }

    #[test]
    fn every_field_at_fault_is_named() {
        let check = |body, parts: &[&str]| {
            let error = new(body).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{error} lacks {part}");
            }
        };
        check(json!([]), &["body: must be a JSON object, not a list"]);
        check(json!({}), &["name: is missing", "source: is missing"]);
        check(
            json!({"name": 5, "source": {"kind": "file"}, "colour": 1, "port": 70000, "replicas": "two"}),
            &["name: ", "source: ", "colour: unknown field", "port: ", "replicas: "],
        );
        check(
            json!({"name": "x", "max_sessions": 1, "config": 5}),
            &["config: must be an object, not a number"],
        );
        for secrets in [json!("planted"), json!({"A": ["planted"]}), json!({"A": 1, "B": {"planted": 1}})] {
            let error = new(json!({"name": "x", "secrets": secrets})).unwrap_err();
            assert!(error.contains("secrets: must be") && !error.contains("planted"), "{error}");
        }
        for (value, word) in [(json!(null), "null"), (json!(true), "boolean"), (json!("x"), "string")] {
            check(value, &[word]);
        }
        assert_eq!(kind(&json!({})), "an object");
    }

    #[test]
    fn changes_are_made_all_or_none() {
        let mut service = crate::service::tests::example();
        let before = service.clone();
        let changes = Changes::from_json(json!({"description": "x", "config": {"weight": 0}})).unwrap();
        assert!(changes.apply(&mut service).is_err());
        assert_eq!(service, before);
        let changes = Changes::from_json(json!({
            "description": "x", "host": "::1", "port": 7000, "tags": ["a"], "replicas": 1, "config": {"weight": 3},
            "environment": {"A": "1", "GONE": null}, "secrets": {"S": "s", "OLD": null},
            "source": {"kind": "external", "url": "ws://h/"},
        }))
        .unwrap();
        changes.apply(&mut service).unwrap();
        assert_eq!((service.port, service.config.weight, service.source.kind()), (Some(7000), 3, "external"));
        assert_eq!(service.environment.get("A").map(String::as_str), Some("1"));
        assert!(service.secret_names.contains("S"));
        Changes::from_json(json!({"port": 0})).unwrap().apply(&mut service).unwrap();
        assert_eq!(service.port, None);
    }

    #[test]
    fn paths_become_absolute_and_clean() {
        let cwd = std::path::Path::new("/home/me");
        for (path, expected) in
            [("a.py", "/home/me/a.py"), ("../x/./a.py", "/home/x/a.py"), ("/b//c", "/b/c")]
        {
            assert_eq!(absolute(cwd, path.as_ref()), PathBuf::from(expected));
        }
        assert_eq!(ListenerKind::Proxy.to_string() + &ListenerKind::Api.to_string(), "proxyapi");
    }
}
