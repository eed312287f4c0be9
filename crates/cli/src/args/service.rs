//! Arguments of `register` and `update`, and the request that they come down to.

use crate::envfile;
use crate::exit::Failure;
use crate::source::{Caller, endpoint, is_python};
use anyhow::{Context, Result};
use clap::{ArgGroup, Args};
use myagent_core::FieldError;
use myagent_core::config::ServiceConfig;
use myagent_core::request::Options;
use myagent_core::service::Source;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// Arguments of `register`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true).args(["file", "endpoint", "command"]))]
pub(crate) struct RegisterArgs {
    /// Its name: lower-case letters, digits, - and _.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Start it now, and whenever the manager starts.
    #[arg(long)]
    pub(crate) auto_start: bool,
    #[command(flatten)]
    pub(crate) options: OptionArgs,
}

/// Arguments of `update`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").args(["file", "endpoint", "command"]))]
pub(crate) struct UpdateArgs {
    /// The service, by name or id.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) options: OptionArgs,
    /// Remove a variable.
    #[arg(long, value_name = "KEY")]
    pub(crate) unset_env: Vec<String>,
    /// Remove a secret.
    #[arg(long, value_name = "KEY")]
    pub(crate) unset_secret: Vec<String>,
}

/// What to run.
#[derive(Debug, Default, Args)]
pub(crate) struct SourceArgs {
    /// File with an agent in it, in Python; in another language with --worker.
    pub(crate) file: Option<PathBuf>,
    /// Program that opens a WebSocket server on $PORT, and its arguments; {port} and {host} are replaced.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
    /// Endpoint that runs already: ws://host:port/path or wss://….
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Python interpreter of an agent file [default: .venv beside it, else python3].
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["command", "endpoint"])]
    pub(crate) python: Option<PathBuf>,
    /// Program that runs the agent file in place of our Python worker, for an agent in another language; it speaks the worker
    /// protocol (docs/design/writing-a-worker.md).
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["command", "endpoint", "python"])]
    pub(crate) worker: Option<PathBuf>,
    /// Path of a command's WebSocket [default: /].
    #[arg(long, value_name = "PATH", conflicts_with_all = ["file", "endpoint"])]
    pub(crate) path: Option<String>,
}

/// Everything that has a default.
#[derive(Debug, Default, Args)]
pub(crate) struct OptionArgs {
    /// Address that its instances listen on [default: 127.0.0.1].
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Fixed port; 0 for the first free one.
    #[arg(long, allow_negative_numbers = true)]
    port: Option<u16>,
    /// Free text.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Tags, for routing and filters.
    #[arg(long, value_name = "TAG,…", value_delimiter = ',')]
    tags: Option<Vec<String>>,
    /// How many instances.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    replicas: Option<u32>,
    /// Places per instance; 0: no limit.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_sessions: Option<u32>,
    /// Seconds that a session lives without a connection.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    session_timeout: Option<f64>,
    /// Start an agent again that ended (the default).
    #[arg(long, conflicts_with = "no_auto_restart")]
    auto_restart: bool,
    /// Do not start an agent again that ended.
    #[arg(long)]
    no_auto_restart: bool,
    /// Seconds between health checks.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    health_check_interval: Option<f64>,
    /// A variable of its environment.
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Variables from a file of KEY=VALUE lines.
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// A secret variable; its value comes from --env-file, your environment, or a prompt.
    #[arg(long, value_name = "KEY")]
    secret: Vec<String>,
    /// Any other setting, e.g. --set stop_grace=5.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Where the value of a secret comes from if no file has it.
pub(crate) trait SecretValues {
    /// The value, or why there is none.
    fn value(&self, name: &str) -> Result<String>;
}

impl SourceArgs {
    /// The source that is given, checked and made absolute; `None`: none is.
    pub(crate) fn source(&self, caller: &Caller) -> Result<Option<Source>> {
        if let Some(file) = &self.file {
            let path = caller.agent_file(file, self.worker.is_some())?;
            let python = self.python.as_deref().map(|python| caller.python(python)).transpose()?;
            let worker = self.worker.as_deref().map(|worker| caller.worker(worker)).transpose()?;
            return Ok(Some(Source::File { path, python, worker }));
        }
        if let Some(url) = &self.endpoint {
            return endpoint(url).map(Some);
        }
        if self.command.is_empty() {
            return Ok(None);
        }
        caller.command(&self.command, self.path.as_deref()).map(Some)
    }

    /// Whether a part of a source is given.
    pub(crate) fn has_part(&self) -> bool {
        self.python.is_some() || self.worker.is_some() || self.path.is_some()
    }

    /// `--python`, `--worker` or `--path` without a source: that of `current` with this changed.
    pub(crate) fn amend(&self, current: &Source, caller: &Caller) -> Result<Option<Source>> {
        let mut source = current.clone();
        match (&mut source, &self.python, &self.worker, &self.path) {
            (_, None, None, None) => return Ok(None),
            // The two exclude each other: the one that is given takes the other's place.
            (Source::File { path, python, worker }, Some(given), None, None) => {
                if !is_python(path) {
                    let message = format!("--python: {} is not a Python file (.py)", path.display());
                    return Err(Failure::Usage(message).into());
                }
                (*python, *worker) = (Some(caller.python(given)?), None);
            }
            (Source::File { python, worker, .. }, None, Some(given), None) => {
                (*python, *worker) = (None, Some(caller.worker(given)?));
            }
            (Source::Command { path, .. }, None, None, Some(given)) => *path = Some(given.clone()),
            _ => {
                let kind = current.kind();
                let message = format!(
                    "--python and --worker are for agent files and --path for commands; this service is {kind}"
                );
                return Err(Failure::Usage(message).into());
            }
        }
        Ok(Some(source))
    }
}

impl OptionArgs {
    /// The names of the secrets.
    pub(crate) fn secrets(&self) -> &[String] {
        &self.secret
    }

    /// The part of the request that these make.
    pub(crate) fn options(&self, caller: &Caller, secrets: &dyn SecretValues) -> Result<Options> {
        let (environment, secrets) = self.variables(caller, secrets)?;
        let tags = self
            .tags
            .as_ref()
            .map(|tags| tags.iter().map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect());
        Ok(Options {
            description: self.description.clone(),
            host: self.host.clone(),
            port: self.port,
            tags,
            environment,
            secrets,
            replicas: self.replicas,
            config: self.config()?,
        })
    }

    fn config(&self) -> Result<Map<String, Value>> {
        let mut config = Map::new();
        let mut checked = ServiceConfig::default();
        let restart = (self.auto_restart || self.no_auto_restart).then_some(self.auto_restart);
        let flags = [
            ("max_sessions", self.max_sessions.map(|value| json!(value))),
            ("session_timeout", self.session_timeout.map(|value| json!(value))),
            ("auto_restart", restart.map(|value| json!(value))),
            ("health_check_interval", self.health_check_interval.map(|value| json!(value))),
        ];
        for (key, value) in flags {
            let Some(value) = value else { continue };
            let flag = format!("--{}", key.replace('_', "-"));
            checked.set(key, &value).map_err(|error| usage(&FieldError::new(flag, error.message)))?;
            config.insert(key.to_owned(), value);
        }
        for assignment in &self.set {
            checked.set_text(assignment).map_err(|error| usage(&error))?;
            let key = assignment.split('=').next().unwrap_or_default();
            let all = serde_json::to_value(&checked).context("failed to read the settings")?;
            config.insert(key.to_owned(), all.get(key).cloned().unwrap_or(Value::Null));
        }
        Ok(config)
    }

    fn variables(&self, caller: &Caller, secrets: &dyn SecretValues) -> Result<(Variables, Variables)> {
        let mut environment = Variables::new();
        for file in &self.env_file {
            let path = myagent_core::request::absolute(&caller.cwd, file);
            let failed = || format!("failed to read --env-file {}", path.display());
            let text = std::fs::read_to_string(&path).with_context(failed)?;
            let read = envfile::parse(&text).map_err(anyhow::Error::msg).with_context(failed)?;
            environment.extend(read.into_iter().map(|(name, value)| (name, Some(value))));
        }
        for assignment in &self.env {
            let (name, value) = assignment.split_once('=').ok_or_else(|| {
                Failure::Usage(format!("--env {assignment:?} is not KEY=VALUE, e.g. --env MODEL=small"))
            })?;
            environment.insert(name.to_owned(), Some(value.to_owned()));
        }
        let mut hidden = Variables::new();
        for name in &self.secret {
            if name.contains('=') {
                let message = "--secret takes only the name, so that the value does not show in the process list; \
                               it comes from --env-file, your environment, or a prompt";
                return Err(Failure::Usage(message.to_owned()).into());
            }
            let value = match environment.remove(name) {
                Some(Some(value)) => value,
                _ => secrets.value(name)?,
            };
            hidden.insert(name.clone(), Some(value));
        }
        Ok((environment, hidden))
    }
}

type Variables = BTreeMap<String, Option<String>>;

fn usage(error: &FieldError) -> Failure {
    Failure::Usage(format!("{}: {}", error.field.replace("config.", "--set "), error.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    struct Known;

    impl SecretValues for Known {
        fn value(&self, name: &str) -> Result<String> {
            Ok(format!("secret of {name}"))
        }
    }

    fn caller() -> Caller {
        Caller { cwd: "/".into(), path: "/bin:/usr/bin".into() }
    }

    fn register(line: &str) -> Result<RegisterArgs> {
        let words = format!("m register {line}");
        match Cli::try_parse_from(words.split(' '))?.command {
            Command::Register(args) => Ok(*args),
            other => anyhow::bail!("{other:?}"),
        }
    }

    /// The options of `register x f.py LINE` as JSON, or the message.
    fn check(line: &str, expected: &str) {
        let options =
            register(&format!("x f.py {line}")).and_then(|args| args.options.options(&caller(), &Known));
        let found = match options {
            Ok(options) => serde_json::to_string(&options).unwrap(),
            Err(error) => format!("{error:#}"),
        };
        assert!(found.contains(expected), "{found} lacks {expected}");
    }

    #[test]
    fn options_become_a_request() {
        check("--port 7000 --replicas 2", r#"{"port":7000,"replicas":2}"#);
        check("--tags a,b,a", r#"{"tags":["a","b"]}"#);
        check("--tags=", r#"{"tags":[]}"#);
        check("--max-sessions 5 --no-auto-restart", r#"{"config":{"auto_restart":false,"max_sessions":5}}"#);
        check("--set stop_grace=2.5 --set ready=tcp", r#"{"config":{"ready":"tcp","stop_grace":2.5}}"#);
        check("--set memory_limit_mb=none", r#"{"config":{"memory_limit_mb":null}}"#);
        check("--env A=1 --env B=x=y", r#"{"environment":{"A":"1","B":"x=y"}}"#);
        check("--secret KEY", r#"{"secrets":{"KEY":"secret of KEY"}}"#);
        check("--env KEY=here --secret KEY", r#"{"secrets":{"KEY":"here"}}"#);
    }

    #[test]
    fn wrong_options_are_named() {
        check("--set colour=red", "--set colour: unknown setting; known are max_sessions");
        check("--set stop_grace=soon", "--set stop_grace: \"soon\" is not seconds from 0 to 3600");
        check("--set stop_grace", "is not KEY=VALUE");
        check("--session-timeout 0", "--session-timeout: 0.0 is not seconds from 1");
        check("--env A", "is not KEY=VALUE");
        check("--secret A=1", "takes only the name");
        check("--env-file /nowhere/.env", "failed to read --env-file /nowhere/.env");
        check("--auto-restart --no-auto-restart", "cannot be used with");
    }

    #[test]
    fn exactly_one_source_is_wanted() {
        assert!(register("x").unwrap_err().to_string().contains("required"));
        assert!(register("x f.py --endpoint ws://h").is_err());
        assert!(register("x f.py -- sh").is_err());
        assert!(register("x --endpoint ws://h --python p").is_err());
        assert!(register("x --endpoint ws://h --worker w").is_err());
        let error = register("x f.py --python p --worker w").unwrap_err().to_string();
        assert!(error.contains("--python") && error.contains("--worker"), "{error}");
        let args = register("x --replicas 2 -- sh -c --port").unwrap();
        assert_eq!(args.source.command, ["sh", "-c", "--port"]);
        let source = args.source.source(&caller()).unwrap().unwrap();
        let Source::Command { argv, cwd, .. } = source else { panic!("{source:?}") };
        assert!(argv[0].ends_with("/sh") && argv[1..] == ["-c", "--port"] && cwd == Some("/".into()));
    }

    #[test]
    fn a_part_of_a_source_is_changed_where_it_fits() {
        let file = Source::File { path: "/a.py".into(), python: None, worker: None };
        let command = Source::Command { argv: vec!["/bin/sh".to_owned()], cwd: None, path: None };
        let path = SourceArgs { path: Some("/ws".to_owned()), ..SourceArgs::default() };
        let python = SourceArgs { python: Some("sh".into()), ..SourceArgs::default() };
        assert_eq!(SourceArgs::default().amend(&file, &caller()).unwrap(), None);
        let amended = path.amend(&command, &caller()).unwrap();
        assert!(matches!(amended, Some(Source::Command { path: Some(path), .. }) if path == "/ws"));
        let amended = python.amend(&file, &caller()).unwrap();
        let amended = amended.unwrap();
        assert!(matches!(&amended, Source::File { python: Some(python), .. } if python.ends_with("sh")));
        assert!(path.amend(&file, &caller()).is_err() && python.amend(&command, &caller()).is_err());
        let worker = SourceArgs { worker: Some("sh".into()), ..SourceArgs::default() };
        assert!(worker.has_part() && !SourceArgs::default().has_part());
        let other = worker.amend(&amended, &caller()).unwrap().unwrap();
        assert!(
            matches!(&other, Source::File { python: None, worker: Some(worker), .. } if worker.ends_with("sh"))
        );
        let back = python.amend(&other, &caller()).unwrap();
        assert!(matches!(back, Some(Source::File { python: Some(_), worker: None, .. })));
        let script = Source::File { path: "/a.mjs".into(), python: None, worker: Some("/w".into()) };
        assert!(python.amend(&script, &caller()).unwrap_err().to_string().contains("/a.mjs is not a Python"));
    }
}
