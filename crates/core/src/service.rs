//! What a user registers: a service.

use crate::config::ServiceConfig;
use crate::error::FieldError;
use crate::ids::ServiceId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use utoipa::ToSchema;

/// Longest service name.
pub const MAX_NAME: usize = 63;
/// Most copies of one service.
pub const MAX_REPLICAS: u32 = 500;
/// Most tags of one service, and longest tag.
pub const MAX_TAGS: usize = 64;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// An agent file, served by our own host; in Python, unless it has a worker of its own.
    File {
        /// Absolute path of the file; it runs in its folder.
        #[schema(value_type = String)]
        path: PathBuf,
        /// Interpreter; default: `.venv` beside the file, else `python3`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        python: Option<PathBuf>,
        /// A program that speaks the worker protocol and runs the file in place of Python; absolute after registration.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        worker: Option<PathBuf>,
    },
    /// A program that opens a WebSocket server on `$PORT`.
    Command {
        /// Program (absolute after registration) and arguments; `{port}` and `{host}` are replaced.
        argv: Vec<String>,
        /// Working directory, absolute after registration.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        cwd: Option<PathBuf>,
        /// Path of its WebSocket, default `/`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// An endpoint that runs already: `ws://host:port/path`.
    External {
        /// Its URL.
        url: String,
    },
}

impl Source {
    /// `file`, `command` or `external`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Command { .. } => "command",
            Self::External { .. } => "external",
        }
    }
}

/// What the user wants a service to be; survives everything but `start` and `stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// All its instances run.
    Running,
    /// None does.
    Stopped,
}

impl fmt::Display for Desired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
        })
    }
}

/// A registered service: what is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Never changes.
    pub service_id: ServiceId,
    /// Unique.
    pub name: String,
    /// Free text, at most 1,000 characters.
    #[serde(default)]
    pub description: String,
    /// What to run.
    pub source: Source,
    /// Address that its instances listen on.
    pub host: String,
    /// Fixed port (only with one replica); `None`: the first free one of the range.
    pub port: Option<u16>,
    /// For routing and filters.
    pub tags: BTreeSet<String>,
    /// How many copies.
    pub replicas: u32,
    /// Settings.
    pub config: ServiceConfig,
    /// Variables given in the clear.
    pub environment: BTreeMap<String, String>,
    /// Names of the secrets; their values are only in the store, encrypted.
    pub secret_names: BTreeSet<String>,
    /// What the user wants.
    pub desired: Desired,
    /// Counts the changes, from 1.
    pub version: u64,
    /// The last version that only a restart puts into force; 0: none.
    #[serde(default)]
    pub restart_version: u64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Service {
    /// Where instances listen if nothing else is asked for.
    pub const DEFAULT_HOST: &str = "127.0.0.1";

    /// Checks everything that can be checked without looking at the machine; all faults at once.
    pub fn validate(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        if let Err(message) = check_name(&self.name) {
            errors.push(FieldError::new("name", message));
        }
        if self.description.chars().count() > 1000 {
            errors.push(FieldError::new("description", "is longer than 1000 characters"));
        }
        if self.replicas == 0 || self.replicas > MAX_REPLICAS {
            errors.push(FieldError::new(
                "replicas",
                format!("must be from 1 to {MAX_REPLICAS}; to run none, stop it"),
            ));
        }
        if self.port == Some(0) {
            errors.push(FieldError::new("port", "must be from 1 to 65535; leave it out for a free one"));
        }
        if self.port.is_some() && self.replicas > 1 {
            errors.push(FieldError::new(
                "port",
                "a fixed port and more than 1 replica exclude each other; leave one out",
            ));
        }
        if self.host.parse::<std::net::IpAddr>().is_err() && self.host != "localhost" {
            errors
                .push(FieldError::new("host", format!("{:?} is not an IP address or localhost", self.host)));
        }
        if self.tags.len() > MAX_TAGS {
            errors.push(FieldError::new("tags", format!("at most {MAX_TAGS}")));
        }
        for tag in &self.tags {
            if let Err(message) = check_tag(tag) {
                errors.push(FieldError::new("tags", message));
            }
        }
        for (field, name) in self
            .environment
            .keys()
            .map(|name| ("environment", name))
            .chain(self.secret_names.iter().map(|name| ("secrets", name)))
        {
            if let Err(message) = check_variable(name) {
                errors.push(FieldError::new(format!("{field}.{name}"), message));
            }
        }
        for (name, value) in &self.environment {
            if value.contains('\0') {
                errors.push(FieldError::new(format!("environment.{name}"), "contains a NUL byte"));
            }
        }
        if let Some(name) = self.secret_names.iter().find(|name| self.environment.contains_key(*name)) {
            errors.push(FieldError::new(
                format!("secrets.{name}"),
                "is given as environment too; give it once",
            ));
        }
        if let Err(error) = self.source.validate() {
            errors.push(error);
        }
        if let Err(mut more) = self.config.validate() {
            errors.append(&mut more);
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// The path of its WebSocket on its own port.
    pub fn ws_path(&self) -> &str {
        match &self.source {
            Source::Command { path: Some(path), .. } => path,
            _ => "/",
        }
    }
}

impl Source {
    fn validate(&self) -> Result<(), FieldError> {
        match self {
            Self::File { path, .. } if path.as_os_str().is_empty() => {
                Err(FieldError::new("source.path", "is empty; give the agent file"))
            }
            Self::File { python: Some(_), worker: Some(_), .. } => Err(FieldError::new(
                "source.worker",
                "and source.python exclude each other: a worker of its own runs without our Python; leave one out",
            )),
            Self::Command { argv, .. } if argv.first().is_none_or(String::is_empty) => {
                Err(FieldError::new("source.argv", "is empty; give a program and its arguments"))
            }
            Self::Command { argv, .. } if argv.iter().any(|arg| arg.contains('\0')) => {
                Err(FieldError::new("source.argv", "contains a NUL byte"))
            }
            Self::Command { path: Some(path), .. }
                if !path.starts_with('/') || path.contains([' ', '\r', '\n']) =>
            {
                Err(FieldError::new("source.path", "must start with / and have no spaces"))
            }
            Self::External { url } => {
                Endpoint::parse(url).map(|_| ()).map_err(|message| FieldError::new("source.url", message))
            }
            _ => Ok(()),
        }
    }
}

/// The parts of an external service's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `wss`: over TLS.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port; 80 or 443 where the URL has none.
    pub port: u16,
    /// Path and query, at least `/`.
    pub path: String,
}

impl Endpoint {
    /// Reads `ws://host[:port][/path]` or `wss://…`.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (tls, rest) = if let Some(rest) = url.strip_prefix("ws://") {
            (false, rest)
        } else if let Some(rest) = url.strip_prefix("wss://") {
            (true, rest)
        } else {
            return Err(format!("{url:?} does not start with ws:// or wss://"));
        };
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        if authority.contains('@') {
            return Err(
                "user names in the URL are not supported; use a header or a token in the query".to_owned()
            );
        }
        let default_port = if tls { 443 } else { 80 };
        let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
            let (host, after) = bracketed.split_once(']').ok_or_else(|| format!("{url:?}: ] is missing"))?;
            (host, after.strip_prefix(':'))
        } else {
            authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
        };
        if host.is_empty() || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("{url:?} has no host, or has spaces"));
        }
        let port = match port {
            None => default_port,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(format!("{port:?} is not a port (1 to 65535)")),
            },
        };
        let path = if path.is_empty() {
            "/".to_owned()
        } else if path.starts_with('?') {
            format!("/{path}")
        } else {
            path.to_owned()
        };
        Ok(Self { tls, host: host.to_owned(), port, path })
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Checks a service name: `[a-z0-9][a-z0-9_-]{0,62}`.
pub fn check_name(name: &str) -> Result<(), String> {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() {
        Err("is empty".to_owned())
    } else if name.len() > MAX_NAME {
        Err(format!("is longer than {MAX_NAME} characters"))
    } else if name.parse::<ServiceId>().is_ok() {
        Err(format!("{name:?} looks like an id; a name must not"))
    } else if name == "batch" {
        // `POST /services/batch` is for several services.
        Err("must not be batch, which is a word of the API".to_owned())
    } else if !name.chars().all(valid) || name.starts_with(['_', '-']) {
        Err(format!("{name:?} must be lower-case letters, digits, - and _, and begin with a letter or digit"))
    } else {
        Ok(())
    }
}

/// Checks a tag: 1 to 64 visible characters without spaces or commas.
pub fn check_tag(tag: &str) -> Result<(), String> {
    if tag.is_empty()
        || tag.chars().count() > 64
        || tag.chars().any(|c| c.is_whitespace() || c.is_control() || c == ',')
    {
        return Err(format!("{tag:?} must be 1 to 64 characters without spaces or commas"));
    }
    Ok(())
}

/// Checks the name of an environment variable.
pub fn check_variable(name: &str) -> Result<(), String> {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(valid) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!(
            "{name:?} is not a variable name (letters, digits and _, not beginning with a digit)"
        ));
    }
    if name.starts_with("MYAGENT_") || name == "PORT" || name == "HOST" {
        return Err(format!("{name} is set by the manager itself"));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> Service {
        let now = Timestamp::UNIX_EPOCH;
        Service {
            service_id: ServiceId(uuid::Uuid::nil()),
            name: "weather".to_owned(),
            description: String::new(),
            source: Source::File { path: "/a/weather.py".into(), python: None, worker: None },
            host: "127.0.0.1".to_owned(),
            port: None,
            tags: BTreeSet::new(),
            replicas: 1,
            config: ServiceConfig::default(),
            environment: BTreeMap::new(),
            secret_names: BTreeSet::new(),
            desired: Desired::Stopped,
            version: 1,
            restart_version: 0,
            created_at: now,
            updated_at: now,
        }
    }

    /// What is wrong after `change`, as one line; empty: nothing.
    fn faults(change: impl FnOnce(&mut Service)) -> String {
        let mut service = example();
        change(&mut service);
        let errors = service.validate().err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_good_service_has_no_faults() {
        assert_eq!(faults(|_| ()), "");
        assert_eq!(
            faults(|s| s.source =
                Source::Command { argv: vec!["x".into()], cwd: None, path: Some("/ws".into()) }),
            ""
        );
        assert_eq!(faults(|s| s.source = Source::External { url: "wss://h:1/x?y".into() }), "");
        assert_eq!(faults(|s| s.host = "localhost".into()), "");
    }

    #[test]
    fn each_fault_names_its_field_and_the_fix() {
        let check = |change: fn(&mut Service), expected: &str| {
            let faults = faults(change);
            assert!(faults.contains(expected), "{faults:?} lacks {expected:?}");
        };
        check(|s| s.name = String::new(), "name: is empty");
        check(|s| s.name = "x".repeat(64), "name: is longer than 63");
        check(|s| s.name = "Weather".into(), "name: \"Weather\" must be lower-case");
        check(|s| s.name = "-x".into(), "begin with a letter");
        check(|s| s.description = "x".repeat(1001), "description: is longer");
        check(|s| s.replicas = 0, "replicas: must be from 1 to 500; to run none, stop it");
        check(|s| s.replicas = 501, "replicas: ");
        check(|s| s.port = Some(0), "port: must be from 1");
        check(|s| (s.port, s.replicas) = (Some(80), 2), "port: a fixed port and more than 1 replica");
        check(|s| s.host = "nowhere".into(), "host: \"nowhere\" is not an IP address");
        check(|s| s.tags = (0..65).map(|n| n.to_string()).collect(), "tags: at most 64");
        check(|s| s.tags = ["a b".to_owned()].into(), "tags: \"a b\" must be");
        check(|s| s.environment = [("1A".to_owned(), String::new())].into(), "environment.1A: ");
        check(|s| s.environment = [("PORT".to_owned(), String::new())].into(), "PORT is set by the manager");
        check(
            |s| s.environment = [("A".to_owned(), "\0".to_owned())].into(),
            "environment.A: contains a NUL",
        );
        check(|s| s.secret_names = ["a-b".to_owned()].into(), "secrets.a-b: ");
        check(
            |s| {
                (s.secret_names, s.environment) =
                    (["A".to_owned()].into(), [("A".to_owned(), String::new())].into())
            },
            "secrets.A: is given as environment too",
        );
        check(
            |s| s.source = Source::File { path: "".into(), python: None, worker: None },
            "source.path: is empty",
        );
        check(
            |s| {
                s.source =
                    Source::File { path: "/a".into(), python: Some("/p".into()), worker: Some("/w".into()) }
            },
            "source.worker: and source.python exclude",
        );
        check(
            |s| s.source = Source::Command { argv: vec![], cwd: None, path: None },
            "source.argv: is empty",
        );
        check(
            |s| s.source = Source::Command { argv: vec!["\0".into()], cwd: None, path: None },
            "source.argv: contains a NUL",
        );
        check(
            |s| s.source = Source::Command { argv: vec!["x".into()], cwd: None, path: Some("ws".into()) },
            "source.path: must start",
        );
        check(|s| s.source = Source::External { url: "http://x".into() }, "source.url: ");
        check(|s| s.config.weight = 0, "config.weight: 0 is not");
    }

    #[test]
    fn endpoints_are_taken_apart() {
        let check = |url: &str, expected: Option<(bool, &str, u16, &str, &str)>| match (
            Endpoint::parse(url),
            expected,
        ) {
            (Ok(e), Some(x)) => {
                assert_eq!((e.tls, e.host.as_str(), e.port, e.path.as_str(), e.authority().as_str()), x)
            }
            (Err(_), None) => {}
            (result, _) => panic!("{url}: {result:?}"),
        };
        check("ws://h", Some((false, "h", 80, "/", "h:80")));
        check("ws://h:7000/ws?a=b", Some((false, "h", 7000, "/ws?a=b", "h:7000")));
        check("wss://[::1]/x", Some((true, "::1", 443, "/x", "[::1]:443")));
        check("wss://[::1]:9?q", Some((true, "::1", 9, "/?q", "[::1]:9")));
        for bad in [
            "",
            "h:1",
            "ws://",
            "ws://:80",
            "ws://h:0",
            "ws://h:x",
            "ws://u@h/",
            "ws://h h/",
            "ws://[::1/",
            "ws://h:70000",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn the_rest_reads_well() {
        assert_eq!(Desired::Running.to_string() + &Desired::Stopped.to_string(), "runningstopped");
        let mut service = example();
        assert_eq!((service.ws_path(), service.source.kind()), ("/", "file"));
        service.source = Source::Command { argv: vec!["x".into()], cwd: None, path: Some("/ws".into()) };
        assert_eq!((service.ws_path(), service.source.kind()), ("/ws", "command"));
    }
}
