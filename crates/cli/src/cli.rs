//! What the program takes: the table of commands. What they do is in `commands`; arguments that several share in `args`.

use crate::args::looking::{ConnectionsArgs, DisconnectArgs, EventsArgs, HealthArgs, LogsArgs};
use crate::args::route::RouteCommand;
use crate::args::select::Selection;
use crate::args::server::{ApiArgs, DaemonArgs, ProxyArgs, ShutdownArgs, UpArgs, UpgradeArgs};
use crate::args::service::{RegisterArgs, UpdateArgs};
use crate::exit;
use crate::output::Format;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;

/// Runs, routes and watches a fleet of AI agent services.
#[derive(Debug, Parser)]
#[command(name = "myagent-manager", version, after_help = exit::CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Arguments of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Data directory of the manager that is meant [env: MYAGENT_DATA_DIR] [default: ~/.local/share/myagent].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Database file; the data directory is then FILE without its extension.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "data_dir")]
    pub(crate) db_path: Option<PathBuf>,
    /// Form of the data on standard output.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Only data: no messages, no progress.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register a service: an agent file, a command, or an endpoint that runs already.
    #[command(
        override_usage = "myagent-manager register [OPTIONS] <NAME> <FILE>\n       \
        myagent-manager register [OPTIONS] <NAME> --endpoint <URL>\n       \
        myagent-manager register [OPTIONS] <NAME> -- <COMMAND>...",
        after_help = "Examples:\n  \
        myagent-manager register weather weather_agent.py --auto-start\n  \
        myagent-manager register counter counter_agent.mjs --worker ./worker.mjs\n  \
        myagent-manager register support --path /ws --replicas 2 -- node server.js\n  \
        myagent-manager register legacy --endpoint ws://10.0.0.5:7000/ws"
    )]
    Register(Box<RegisterArgs>),
    /// Change a service; only what is given changes, and what runs goes on until it is restarted.
    #[command(after_help = "Example:\n  myagent-manager update weather --max-sessions 20 --set stop_grace=5")]
    Update(Box<UpdateArgs>),
    /// Stop services and forget them.
    #[command(after_help = "Example:\n  myagent-manager unregister weather support", alias = "remove")]
    Unregister {
        /// Services, by name or id.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Change how many instances of a service there are.
    #[command(after_help = "Example:\n  myagent-manager scale weather 3")]
    Scale {
        /// The service, by name or id.
        name: String,
        /// Instances.
        #[arg(value_name = "N", allow_negative_numbers = true)]
        replicas: u32,
    },
    /// Start services and wait until they are ready.
    #[command(
        override_usage = "myagent-manager start [OPTIONS] <NAME>...|--all|--tag <TAG>",
        after_help = "Examples:\n  \
        myagent-manager start weather support\n  myagent-manager start --all\n\n\
        With --format json: the service for one NAME, else a list of {name, problem}."
    )]
    Start {
        #[command(flatten)]
        selection: Selection,
    },
    /// Stop services and wait until nothing of them is left.
    #[command(
        override_usage = "myagent-manager stop [OPTIONS] <NAME>...|--all|--tag <TAG>",
        after_help = "Examples:\n  \
        myagent-manager stop weather\n  myagent-manager stop --tag canary\n\n\
        With --format json: the service for one NAME, else a list of {name, problem}."
    )]
    Stop {
        #[command(flatten)]
        selection: Selection,
    },
    /// Restart services: one instance after the other, each ready before the next.
    #[command(
        override_usage = "myagent-manager restart [OPTIONS] <NAME>...|--all|--tag <TAG>",
        after_help = "Examples:\n  \
        myagent-manager restart weather\n  myagent-manager restart --all --all-at-once\n\n\
        A named service that is stopped is started; --all and --tag leave stopped ones alone.\n\
        With --format json: the service for one NAME, else a list of {name, problem}."
    )]
    Restart {
        #[command(flatten)]
        selection: Selection,
        /// Restart all instances of a service at the same time.
        #[arg(long)]
        all_at_once: bool,
    },
    /// List services.
    #[command(after_help = "Examples:\n  \
        myagent-manager list --status running,unhealthy\n  myagent-manager list --tags chat --format json")]
    List {
        /// Only services in one of these states: running, starting, unhealthy, error, stopping, stopped.
        #[arg(long, value_name = "STATUS,…")]
        status: Option<String>,
        /// Only services with all of these tags.
        #[arg(long, visible_alias = "tag", value_name = "TAG,…")]
        tags: Option<String>,
    },
    /// Show a service with everything one needs when it is broken; without NAME the fleet.
    #[command(after_help = "Example:\n  myagent-manager status weather")]
    Status {
        /// The service, by name or id.
        name: Option<String>,
    },
    /// Show the numbers of the fleet: connections, messages, bytes.
    #[command(after_help = "Example:\n  myagent-manager stats --format json")]
    Stats,
    /// Show the output of a service's instances, or search that of all services.
    #[command(
        override_usage = "myagent-manager logs [OPTIONS] <NAME>\n       myagent-manager logs --all [OPTIONS]",
        after_help = "Examples:\n  \
        myagent-manager logs weather -f\n  myagent-manager logs weather --since 10m --grep 'Error|Traceback'\n  \
        myagent-manager logs --all --level warn --since 1h -e timeout"
    )]
    Logs(LogsArgs),
    /// Show the health of a service and its instances.
    #[command(after_help = "Example:\n  myagent-manager health weather --check")]
    Health(HealthArgs),
    /// List open connections, the newest first.
    #[command(after_help = "Examples:\n  \
        myagent-manager connections --service weather\n  \
        myagent-manager connections --ip 192.0.2.7 --format json\n\n\
        What is shown is at most about a second old.")]
    Connections(ConnectionsArgs),
    /// Close connections; the client gets a close frame with the code and the reason.
    #[command(after_help = "Examples:\n  \
        myagent-manager disconnect 0199d3a0-4f2c-7b31-9d55-0c8e6b1f2a77\n  \
        myagent-manager disconnect 0199d3a0-4f2c --reason 'come back later' --code 1013\n\n\
        Exit code 1 if one of them is not open, or does not end within two seconds.")]
    Disconnect(DisconnectArgs),
    /// Routing rules: which clients go to which services; and who would get a client.
    #[command(
        subcommand,
        after_help = "Examples:\n  \
        myagent-manager route add v2 --when 'header.X-API-Version equals v2' --to-tag v2\n  \
        myagent-manager route explain /chat --ip 192.168.1.7\n\n\
        Rules are for clients that name neither a service (/s/NAME/…, ?service=) nor a tag (?tag=) nor a known session."
    )]
    Route(Box<RouteCommand>),
    /// Show what happened: who, what, to which service, why.
    #[command(after_help = "Example:\n  myagent-manager events -f --service weather")]
    Events(EventsArgs),
    /// Check this machine and the data directory; works without a manager.
    #[command(
        after_help = "Example:\n  myagent-manager doctor\n\nExit code 1 if something is broken; warnings are 0."
    )]
    Doctor,
    /// Run the manager in the foreground, on its own socket only.
    #[command(after_help = "Example:\n  myagent-manager daemon")]
    Daemon(DaemonArgs),
    /// Run the manager with the HTTP API, or open the API of the manager that runs.
    #[command(after_help = "Example:\n  myagent-manager api --port 8080")]
    Api(ApiArgs),
    /// Run the manager with the proxy, or open the proxy of the manager that runs.
    #[command(after_help = "Example:\n  myagent-manager proxy --port 9090")]
    Proxy(ProxyArgs),
    /// Run the manager with the HTTP API and the proxy, or open both of the manager that runs.
    #[command(after_help = "Example:\n  myagent-manager up")]
    Up(UpArgs),
    /// End the manager: stop all instances, or let them go on.
    #[command(after_help = "Example:\n  myagent-manager shutdown --keep-services")]
    Shutdown(ShutdownArgs),
    /// Have a new process take over from the manager that runs: no conversation is cut, no client refused.
    #[command(after_help = "Examples:\n  \
        myagent-manager upgrade\n  myagent-manager upgrade --program /opt/myagent/2.0/myagent-manager\n\n\
        The new process takes the listening sockets over and finds all instances again; the old one finishes the handshakes \
        that are under way and ends. Runners go on with their old program until their instance is restarted. If the new \
        program cannot take over, the old one goes on.")]
    Upgrade(UpgradeArgs),
    /// Show what the manager that runs logs of itself, or change it until it ends.
    #[command(after_help = "Examples:\n  \
        myagent-manager log-level\n  myagent-manager log-level info,myagent_proxy=debug\n\n\
        For the next manager, too: the setting log_level.")]
    LogLevel {
        /// off, error, warn, info, debug or trace, or a filter of several.
        level: Option<String>,
    },
    /// Write the completions of a shell to standard output.
    #[command(
        after_help = "Example:\n  myagent-manager completions bash > /etc/bash_completion.d/myagent-manager"
    )]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Each command with its whole name, those below another one included.
    fn all_commands() -> Vec<(String, clap::Command)> {
        let mut all = Vec::new();
        for command in Cli::command().get_subcommands() {
            let name = command.get_name().to_owned();
            let below = command
                .get_subcommands()
                .map(|below| (format!("{name} {}", below.get_name()), below.clone()));
            all.extend(below.collect::<Vec<_>>());
            all.push((name, command.clone()));
        }
        all
    }

    #[test]
    fn the_table_of_commands_is_consistent_and_each_has_an_example() {
        Cli::command().debug_assert();
        for (name, command) in all_commands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("myagent-manager {name}")), "{name} has no example");
            assert!(command.get_about().is_some(), "{name} says nothing of itself");
        }
    }

    /// Words as a shell splits them, with single quotes only.
    fn split(line: &str) -> Vec<String> {
        let (mut words, mut quoted) = (vec![String::new()], false);
        for c in line.chars() {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().unwrap().push(c),
            }
        }
        words
    }

    #[test]
    fn every_example_is_accepted() {
        let mut checked = 0;
        for (_, command) in all_commands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().map(str::trim).filter(|line| line.starts_with("myagent-manager ")) {
                let words = split(line.split(" > ").next().unwrap_or_default());
                Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
                checked += 1;
            }
        }
        assert!(checked > 30, "only {checked} examples were found");
    }

    #[test]
    fn global_options_stand_anywhere_and_slips_are_usage_errors() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        let cli = parse("m list --format json --data-dir /x -q").unwrap();
        assert!(cli.global.quiet && cli.global.format == Format::Json);
        assert_eq!(cli.global.data_dir, Some("/x".into()));
        assert!(parse("m --format json list").is_ok());
        for line in [
            "m",
            "m logs",
            "m logs a --all",
            "m logs --all -f",
            "m logs a --level loud",
            "m start",
            "m start a --all",
            "m stop --all --tag x",
            "m scale a",
            "m unregister",
            "m fly",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        assert!(parse("m strat weather").unwrap_err().to_string().contains("'start'"));
    }
}
