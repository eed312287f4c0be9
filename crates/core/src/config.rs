//! The settings of a service: one table of keys, with default, range and meaning, that the CLI (`--set`), the API, fleet
//! files and the reference page all read.

use crate::error::FieldError;
use crate::probe::Ready;
use crate::suggest::nearest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use utoipa::openapi::schema::{AdditionalProperties, SchemaType};
use utoipa::openapi::{Object, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Settings of a service. Durations are seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceConfig {
    /// Places per instance; 0: no limit.
    pub max_sessions: u32,
    /// How long a session lives without a connection.
    pub session_timeout: f64,
    /// Most sessions without a connection.
    pub max_detached_sessions: u32,
    /// How long a start may take.
    pub start_timeout: f64,
    /// What must succeed before an instance gets clients.
    pub ready: Ready,
    /// Whether health is checked at all.
    pub health_check_enabled: bool,
    /// Time between checks, ±10 %.
    pub health_check_interval: f64,
    /// Time a check may take.
    pub health_check_timeout: f64,
    /// An instance that a client waits for, or that said something, within this time is busy and is not restarted.
    pub busy_max: f64,
    /// A client that takes nothing of what is sent to it for so long is dropped.
    pub slow_client_timeout: f64,
    /// Whether an agent that ended is started again.
    pub auto_restart: bool,
    /// First delay before a restart; doubles each time, ±25 %, at most 60.
    pub restart_delay: f64,
    /// Restarts in a row before `error`; the count resets after 60 s of health.
    pub max_restart_count: u32,
    /// Whether an instance in `error` is tried again every 300 s.
    pub retry_in_error: bool,
    /// Time between TERM and KILL.
    pub stop_grace: f64,
    /// How long an instance that is to be replaced, or is too many, may take to give its conversations away.
    pub drain_timeout: f64,
    /// Memory of the whole process tree, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_mb: Option<u64>,
    /// Processor time of the whole process tree, percent of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit_percent: Option<u32>,
    /// Share of new connections, relative to other instances.
    pub weight: u32,
    /// Size at which a log file is rotated, MiB.
    pub log_max_mb: u32,
    /// Log files kept per instance.
    pub log_files: u32,
    /// Largest message of a client of an agent file, KiB.
    pub max_message_kb: u32,
    /// What an instance of an agent file keeps of its sessions on disk at the most, MiB; 0: nothing.
    pub journal_max_mb: u32,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            max_sessions: 0,
            session_timeout: 1800.0,
            max_detached_sessions: 1000,
            start_timeout: 60.0,
            ready: Ready::Ws(None),
            health_check_enabled: true,
            health_check_interval: 10.0,
            health_check_timeout: 5.0,
            busy_max: 1800.0,
            slow_client_timeout: 30.0,
            auto_restart: true,
            restart_delay: 1.0,
            max_restart_count: 3,
            retry_in_error: true,
            stop_grace: 10.0,
            drain_timeout: 300.0,
            memory_limit_mb: None,
            cpu_limit_percent: None,
            weight: 1,
            log_max_mb: 10,
            log_files: 5,
            max_message_kb: 1024,
            journal_max_mb: 256,
        }
    }
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A whole number from, to.
    Integer(u64, u64),
    /// Like `Integer`, or null for none.
    OptionalInteger(u64, u64),
    /// Seconds from, to; fractions allowed.
    Seconds(f64, f64),
    /// true or false.
    Bool,
    /// A readiness probe.
    Ready,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in JSON and `--set`.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether a running instance must be restarted for it.
    pub restart: bool,
    /// One line for people.
    pub help: &'static str,
}

const fn key(name: &'static str, kind: Kind, restart: bool, help: &'static str) -> Key {
    Key { name, kind, restart, help }
}

/// Every setting, in the order of the reference page.
pub const KEYS: &[Key] = &[
    key(
        "max_sessions",
        Kind::Integer(0, 1_000_000),
        true,
        "places per instance (open connections and detached sessions with a running turn); 0: no limit",
    ),
    key(
        "session_timeout",
        Kind::Seconds(1.0, 2_592_000.0),
        true,
        "seconds that a session of an agent file lives without a connection",
    ),
    key(
        "max_detached_sessions",
        Kind::Integer(0, 1_000_000),
        true,
        "most sessions of an agent file without a connection; the least recently used go first",
    ),
    key("start_timeout", Kind::Seconds(0.1, 3600.0), false, "seconds a start may take"),
    key(
        "ready",
        Kind::Ready,
        true,
        "what must succeed before clients come: ws, ws:/path, tcp, http:/path, log:REGEX",
    ),
    key("health_check_enabled", Kind::Bool, false, "whether health is checked"),
    key("health_check_interval", Kind::Seconds(0.1, 3600.0), false, "seconds between checks, ±10 %"),
    key("health_check_timeout", Kind::Seconds(0.1, 300.0), false, "seconds a check may take"),
    key(
        "busy_max",
        Kind::Seconds(0.0, 86_400.0),
        true,
        "seconds for which an unanswered message or the last output makes an instance busy: not restarted by failing checks",
    ),
    key(
        "slow_client_timeout",
        Kind::Seconds(1.0, 3600.0),
        true,
        "seconds after which a client that takes nothing of what is sent to it is dropped, with 1013 slow_client",
    ),
    key("auto_restart", Kind::Bool, true, "whether an agent that ended is started again"),
    key(
        "restart_delay",
        Kind::Seconds(0.1, 60.0),
        true,
        "seconds before the first restart; doubles, ±25 %, at most 60",
    ),
    key(
        "max_restart_count",
        Kind::Integer(0, 1000),
        true,
        "restarts in a row before error; the count resets after 60 s of health",
    ),
    key("retry_in_error", Kind::Bool, false, "whether an instance in error is tried again every 300 s"),
    key("stop_grace", Kind::Seconds(0.0, 3600.0), true, "seconds between TERM and KILL"),
    key(
        "drain_timeout",
        Kind::Seconds(0.0, 86_400.0),
        false,
        "seconds that a running answer may still take in an instance that a rolling restart replaces or a scale-in removes, and in which connections that cannot move are closed",
    ),
    key(
        "memory_limit_mb",
        Kind::OptionalInteger(8, 16_777_216),
        true,
        "memory of the whole process tree, MiB; past it the tree is killed with cause oom",
    ),
    key(
        "cpu_limit_percent",
        Kind::OptionalInteger(1, 100_000),
        true,
        "processor time of the whole process tree, percent of one core",
    ),
    key("weight", Kind::Integer(1, 1000), false, "share of new connections, relative to other instances"),
    key("log_max_mb", Kind::Integer(1, 10_240), true, "size at which a log file is rotated, MiB"),
    key("log_files", Kind::Integer(1, 100), true, "log files kept per instance"),
    key(
        "max_message_kb",
        Kind::Integer(1, 65_536),
        true,
        "largest message of a client of an agent file, KiB",
    ),
    key(
        "journal_max_mb",
        Kind::Integer(0, 65_536),
        true,
        "what an instance of an agent file keeps of its sessions on disk at the most, MiB; 0: nothing, so no session survives its process",
    ),
];

impl Kind {
    /// What is accepted, in words.
    pub fn describe(self) -> String {
        match self {
            Self::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Self::OptionalInteger(min, max) => {
                format!("a whole number from {min} to {max}, or null for none")
            }
            Self::Seconds(min, max) => format!("seconds from {min} to {max}"),
            Self::Bool => "true or false".to_owned(),
            Self::Ready => "ws, ws:/path, tcp, http:/path or log:REGEX".to_owned(),
        }
    }

    fn check(self, value: &Value) -> Result<(), String> {
        let fits = match self {
            Self::Integer(min, max) => value.as_u64().is_some_and(|n| (min..=max).contains(&n)),
            Self::OptionalInteger(min, max) => {
                value.is_null() || value.as_u64().is_some_and(|n| (min..=max).contains(&n))
            }
            Self::Seconds(min, max) => value.as_f64().is_some_and(|n| n >= min && n <= max),
            Self::Bool => value.is_boolean(),
            Self::Ready => match value.as_str() {
                Some(text) => return text.parse::<Ready>().map(|_| ()),
                None => false,
            },
        };
        if fits { Ok(()) } else { Err(format!("{value} is not {}", self.describe())) }
    }

    /// Reads what a person typed after `key=`.
    fn read(self, text: &str) -> Value {
        match self {
            Self::Ready => Value::String(text.to_owned()),
            Self::OptionalInteger(..) if matches!(text, "" | "none" | "null") => Value::Null,
            _ => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        }
    }
}

/// The key of that name, or a message with the nearest, else with all.
pub fn find_key(name: &str) -> Result<&'static Key, String> {
    KEYS.iter().find(|key| key.name == name).ok_or_else(|| {
        let names = || KEYS.iter().map(|key| key.name);
        match nearest(name, names()) {
            Some(near) => format!("unknown setting; did you mean {near}?"),
            None => format!("unknown setting; known are {}", names().collect::<Vec<_>>().join(", ")),
        }
    })
}

impl Key {
    /// What it takes, for the document of the API.
    fn schema(&self, default: &Value) -> Object {
        let schema = Object::builder().description(Some(self.help)).default(Some(default.clone()));
        let number = |kind| {
            Object::builder().schema_type(kind).description(Some(self.help)).default(Some(default.clone()))
        };
        match self.kind {
            Kind::Integer(min, max) => number(Type::Integer).minimum(Some(min)).maximum(Some(max)),
            Kind::OptionalInteger(min, max) => schema
                .schema_type([Type::Integer, Type::Null].into_iter().collect::<SchemaType>())
                .minimum(Some(min))
                .maximum(Some(max)),
            Kind::Seconds(min, max) => number(Type::Number).minimum(Some(min)).maximum(Some(max)),
            Kind::Bool => schema.schema_type(Type::Boolean),
            Kind::Ready => {
                schema.schema_type(Type::String).pattern(Some("^(ws|ws:/.*|tcp|http:/.*|log:.+)$"))
            }
        }
        .build()
    }
}

impl PartialSchema for ServiceConfig {
    /// From the table of keys.
    fn schema() -> RefOr<Schema> {
        let defaults = serde_json::to_value(Self::default()).unwrap_or_default();
        let object = Object::builder()
            .description(Some(
                "Settings of a service. Durations are seconds. What is not given has its default.",
            ))
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
        let default = |key: &Key| defaults.get(key.name).cloned().unwrap_or_default();
        KEYS.iter().fold(object, |object, key| object.property(key.name, key.schema(&default(key)))).into()
    }
}

impl ToSchema for ServiceConfig {}

impl ServiceConfig {
    /// Sets one key from JSON; the field of an error is `config.<key>`.
    pub fn set(&mut self, name: &str, value: &Value) -> Result<(), FieldError> {
        let at_fault = |message| FieldError::new(format!("config.{name}"), message);
        let key = find_key(name).map_err(at_fault)?;
        key.kind.check(value).map_err(at_fault)?;
        let mut all = serde_json::to_value(&*self).map_err(|error| at_fault(error.to_string()))?;
        if let Some(map) = all.as_object_mut() {
            map.insert(name.to_owned(), value.clone());
        }
        *self = serde_json::from_value(all).map_err(|error| at_fault(error.to_string()))?;
        Ok(())
    }

    /// Sets one key from `key=value` as typed on a command line.
    pub fn set_text(&mut self, assignment: &str) -> Result<(), FieldError> {
        let (name, text) = assignment.split_once('=').ok_or_else(|| {
            FieldError::new("--set", format!("{assignment:?} is not KEY=VALUE, e.g. --set stop_grace=5"))
        })?;
        let key = find_key(name).map_err(|message| FieldError::new(format!("config.{name}"), message))?;
        self.set(name, &key.kind.read(text))
    }

    /// Checks every key against its range (what came from storage or serde was not checked by [`Self::set`]).
    pub fn validate(&self) -> Result<(), Vec<FieldError>> {
        let all = match serde_json::to_value(self) {
            Ok(all) => all,
            Err(error) => return Err(vec![FieldError::new("config", error.to_string())]),
        };
        let errors: Vec<FieldError> = KEYS
            .iter()
            .filter_map(|key| {
                let value = all.get(key.name).unwrap_or(&Value::Null);
                key.kind
                    .check(value)
                    .err()
                    .map(|message| FieldError::new(format!("config.{}", key.name), message))
            })
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// A setting in seconds as a duration.
    pub fn seconds(value: f64) -> Duration {
        Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_a_field_and_every_field_a_key() {
        let mut config =
            ServiceConfig { memory_limit_mb: Some(64), cpu_limit_percent: Some(50), ..Default::default() };
        let all = serde_json::to_value(&config).unwrap();
        let mut fields: Vec<_> = all.as_object().unwrap().keys().cloned().collect();
        let mut keys: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        fields.sort();
        keys.sort();
        assert_eq!(fields, keys);
        for key in KEYS {
            config.set(key.name, &all[key.name]).unwrap();
            assert!(!key.help.is_empty() && !key.kind.describe().is_empty());
        }
        assert_eq!(ServiceConfig::default().validate(), Ok(()));
    }

    #[test]
    fn what_is_typed_is_read_and_checked() {
        fn check(text: &str, expected: Result<(), &str>) {
            let result = ServiceConfig::default().set_text(text).map_err(|error| error.to_string());
            match (result, expected) {
                (Ok(()), Ok(())) => {}
                (Err(message), Err(part)) => assert!(message.contains(part), "{text}: {message}"),
                (result, expected) => panic!("{text}: {result:?}, expected {expected:?}"),
            }
        }
        check("max_sessions=5", Ok(()));
        check("stop_grace=0.5", Ok(()));
        check("memory_limit_mb=none", Ok(()));
        check("ready=log:up on \\d+", Ok(()));
        check("auto_restart=false", Ok(()));
        check("max_sessions=-1", Err("config.max_sessions: -1 is not a whole number from 0 to 1000000"));
        check("max_sessions=many", Err("whole number"));
        check("stop_grace=-1", Err("seconds from 0 to 3600"));
        check("auto_restart=yes", Err("true or false"));
        check("ready=udp", Err("ws:/path"));
        check("colour=red", Err("unknown setting; known are max_sessions, "));
        check("stop_grase=1", Err("did you mean stop_grace?"));
        check("stop_grace", Err("KEY=VALUE"));
        check("memory_limit_mb=1", Err("from 8"));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let config = ServiceConfig { stop_grace: -1.0, weight: 0, ..Default::default() };
        let errors = config.validate().unwrap_err();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert_eq!(ServiceConfig::seconds(-1.0), Duration::MAX);
        assert_eq!(ServiceConfig::seconds(1.5), Duration::from_millis(1500));
    }
}
