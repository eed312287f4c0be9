//! The settings of the manager itself: `config.toml` in the data directory, `MYAGENT_*` variables, flags.

use crate::error::FieldError;
use crate::routing::{Strategy, TrustedProxies};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The form of the manager's own log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// A JSON document in each line.
    Json,
}

/// Settings of the manager. Unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Ports that services get: first and last.
    pub port_range: (u16, u16),
    /// Kinds of sources that may be registered: `file`, `command`, `external`.
    pub allow_sources: Vec<String>,
    /// Web pages from elsewhere that may connect through the proxy: `https://app.example.org`, or `*`.
    pub allowed_origins: Vec<String>,
    /// Addresses and networks of proxies before ours, whose `X-Forwarded-For` is believed: `10.0.0.0/8`, `127.0.0.1`.
    pub trusted_proxies: Vec<String>,
    /// Whether `trusted_proxies` begin each connection with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Most open connections through the proxy; 0: no limit.
    pub max_connections: u32,
    /// Most of one client address; 0: no limit.
    pub max_connections_per_ip: u32,
    /// Most new connections per second; 0: no limit.
    pub accept_rate: u32,
    /// How a connection that no rule routes gets its instance.
    pub default_strategy: Strategy,
    /// Clients that may wait for an instance that is full or starting.
    pub queue_size: u32,
    /// How long one may wait, seconds.
    pub queue_timeout: f64,
    /// How long an agent may take to begin its answer to a plain HTTP request, or to go on with it, seconds.
    pub answer_timeout: f64,
    /// How long stopping everything may take after Ctrl-C or TERM, seconds, before the manager gives up and exits 1.
    pub shutdown_timeout: f64,
    /// Days that events and health checks are kept.
    pub retention_days: u32,
    /// Whether it is written down, in `access.log`, which clients were there.
    pub access_log: bool,
    /// The form of the manager's own log.
    pub log_format: LogFormat,
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`, or a filter like `info,myagent_proxy=debug`.
    pub log_level: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port_range: (8081, 9000),
            allow_sources: vec!["file".to_owned(), "command".to_owned(), "external".to_owned()],
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            max_connections: 0,
            max_connections_per_ip: 0,
            accept_rate: 0,
            default_strategy: Strategy::RoundRobin,
            queue_size: 100,
            queue_timeout: 8.0,
            answer_timeout: 300.0,
            shutdown_timeout: 120.0,
            retention_days: 30,
            access_log: true,
            log_format: LogFormat::Pretty,
            log_level: "info".to_owned(),
        }
    }
}

/// What `log_level` may say.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Looks whether this is a filter of the manager's own log; the error reads after the name of the field.
pub fn check_log_level(filters: &str) -> Result<(), String> {
    // A slip would be taken for the name of a module, and nothing would be logged.
    let is_level = |filter: &str| LEVELS.contains(&filter.rsplit('=').next().unwrap_or_default());
    match filters.split(',').map(str::trim).find(|filter| !is_level(filter)) {
        Some(filter) => Err(format!("{filter:?} does not end in one of {}", LEVELS.join(", "))),
        None => Ok(()),
    }
}

/// The names of all settings with one line each, for the reference page and for `MYAGENT_<NAME>`.
pub const KEYS: &[(&str, &str)] = &[
    ("port_range", "first and last port that services get, e.g. [8081, 9000]"),
    ("allow_sources", "kinds of sources that may be registered: file, command, external"),
    (
        "allowed_origins",
        "origins of web pages that may connect through the proxy besides loopback ones; * for all",
    ),
    (
        "trusted_proxies",
        "addresses and networks of proxies before this one, whose word on a client's address is believed (X-Forwarded-For), e.g. [\"10.0.0.0/8\"]",
    ),
    (
        "proxy_protocol",
        "true: trusted_proxies begin each connection with a header of the PROXY protocol, version 1 or 2, and are refused without it",
    ),
    ("max_connections", "most open connections through the proxy; 0: no limit"),
    (
        "max_connections_per_ip",
        "most of one client address (of IPv6: of a /64); 0: no limit. Behind a proxy set trusted_proxies, too, or all clients count as one",
    ),
    (
        "accept_rate",
        "most new connections per second, against storms of reconnecting clients; the others are told when to come again; 0: no limit",
    ),
    (
        "default_strategy",
        "how a connection that no rule routes gets its instance: round_robin, least_connections, weighted_random, hash_based, tag_based or performance_based",
    ),
    ("queue_size", "clients that may wait for an instance that is full or starting"),
    ("queue_timeout", "seconds a client may wait"),
    (
        "answer_timeout",
        "seconds an agent may take to begin its answer to a plain HTTP request, or to go on with it",
    ),
    (
        "shutdown_timeout",
        "seconds that stopping everything may take after Ctrl-C or TERM; past it: exit code 1",
    ),
    ("retention_days", "days that events and health checks are kept"),
    (
        "access_log",
        "true: a JSON line in access.log of the data directory for each client's connection when it ends (10 MiB, 5 old files kept)",
    ),
    ("log_format", "form of the manager's own log: pretty, or json for a JSON document in each line"),
    ("log_level", "off, error, warn, info, debug or trace, or a filter like info,myagent_proxy=debug"),
];

impl Settings {
    /// Checks every value; all faults at once.
    pub fn validate(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        let (first, last) = self.port_range;
        if first == 0 || first > last {
            errors.push(FieldError::new(
                "port_range",
                format!("[{first}, {last}] must be two ports, the lower first"),
            ));
        }
        for kind in &self.allow_sources {
            if !matches!(kind.as_str(), "file" | "command" | "external") {
                errors.push(FieldError::new(
                    "allow_sources",
                    format!("{kind:?} is not file, command or external"),
                ));
            }
        }
        for origin in &self.allowed_origins {
            if origin != "*" && !origin.starts_with("http://") && !origin.starts_with("https://") {
                errors.push(FieldError::new(
                    "allowed_origins",
                    format!("{origin:?} must begin with http:// or https://"),
                ));
            }
        }
        errors.extend(self.read_trusted_proxies().err().unwrap_or_default());
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            let message = "needs trusted_proxies: only from those is the header read";
            errors.push(FieldError::new("proxy_protocol", message));
        }
        for (name, value, min, max) in [
            ("queue_timeout", self.queue_timeout, 0.0, 3600.0),
            ("answer_timeout", self.answer_timeout, 1.0, 86_400.0),
            ("shutdown_timeout", self.shutdown_timeout, 1.0, 86_400.0),
        ] {
            if !(min..=max).contains(&value) {
                errors.push(FieldError::new(name, format!("{value} is not seconds from {min} to {max}")));
            }
        }
        if self.default_strategy == Strategy::Manual {
            let message = "manual takes the first service of a rule's list; it cannot be the default";
            errors.push(FieldError::new("default_strategy", message));
        }
        if self.retention_days == 0 || self.retention_days > 3650 {
            errors.push(FieldError::new("retention_days", "must be from 1 to 3650"));
        }
        if self.queue_size > 100_000 {
            errors.push(FieldError::new("queue_size", "must be at most 100000"));
        }
        errors.extend(
            check_log_level(&self.log_level).map_err(|fault| FieldError::new("log_level", fault)).err(),
        );
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// The proxies whose word is believed; [`Settings::validate`] tells what cannot be read.
    pub fn trusted_proxies(&self) -> TrustedProxies {
        self.read_trusted_proxies().unwrap_or_default()
    }

    fn read_trusted_proxies(&self) -> Result<TrustedProxies, Vec<FieldError>> {
        TrustedProxies::parse("trusted_proxies", &self.trusted_proxies)
    }

    /// How long a client may wait.
    pub fn queue_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.queue_timeout)
    }

    /// How long an agent may take for its answer to a plain request.
    pub fn answer_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.answer_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_fields_are_the_same() {
        let all = serde_json::to_value(Settings::default()).unwrap();
        let mut fields: Vec<_> = all.as_object().unwrap().keys().map(String::as_str).collect();
        let mut keys: Vec<_> = KEYS.iter().map(|(name, _)| *name).collect();
        fields.sort_unstable();
        keys.sort_unstable();
        assert_eq!(fields, keys);
        assert_eq!(Settings::default().validate(), Ok(()));
        assert_eq!(Settings::default().queue_timeout(), Duration::from_secs(8));
        let filter = Settings { log_level: "info, myagent_proxy=debug".into(), ..Settings::default() };
        assert_eq!(filter.validate(), Ok(()));
    }

    #[test]
    fn each_fault_is_named() {
        let proxy = Settings { proxy_protocol: true, ..Settings::default() };
        assert_eq!(proxy.validate().unwrap_err()[0].field, "proxy_protocol");
        let settings = Settings {
            port_range: (9, 1),
            allow_sources: vec!["all".into()],
            allowed_origins: vec!["x".into()],
            trusted_proxies: vec!["::1".into(), "10.0.0.0/33".into()],
            proxy_protocol: false,
            max_connections: 1,
            max_connections_per_ip: 1,
            accept_rate: 1,
            default_strategy: Strategy::Manual,
            queue_timeout: -1.0,
            answer_timeout: 0.5,
            shutdown_timeout: 0.0,
            retention_days: 0,
            queue_size: 1_000_000,
            access_log: false,
            log_format: LogFormat::Json,
            log_level: "info,loud".into(),
        };
        let fields: Vec<_> = settings.validate().unwrap_err().into_iter().map(|error| error.field).collect();
        assert_eq!(
            fields,
            [
                "port_range",
                "allow_sources",
                "allowed_origins",
                "trusted_proxies[1]",
                "queue_timeout",
                "answer_timeout",
                "shutdown_timeout",
                "default_strategy",
                "retention_days",
                "queue_size",
                "log_level"
            ]
        );
    }
}
