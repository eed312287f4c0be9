//! One file per command, listed here, and what they work with.

mod completions;
mod connections;
mod disconnect;
mod doctor;
mod events;
mod health;
mod list;
mod log_level;
mod logs;
mod register;
mod route;
mod run_services;
mod scale;
mod server;
mod stats;
mod status;
mod unregister;
mod update;
mod upgrade;

use crate::cli::{Cli, Command};
use crate::client::Client;
use crate::clock::SystemClock;
use crate::datadir::DataDir;
use crate::exit::Failure;
use crate::lifecycle;
use crate::output::Output;
use anyhow::{Context, Result};
use jiff::Timestamp;
use myagent_core::Clock;
use run_services::Action;

/// What a command works with.
pub(crate) struct App {
    pub(crate) data: DataDir,
    pub(crate) out: Output,
    clock: SystemClock,
}

impl App {
    /// The current time, for ages and `--since`.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The manager that runs. Looking never starts one.
    async fn look(&self) -> Result<Client> {
        let none = || Failure::NoManager(self.data.path().display().to_string());
        Client::connect(&self.data.socket().ok_or_else(none)?).await
    }

    /// The manager that runs; if none does, one is started in the background.
    async fn change(&self) -> Result<Client> {
        self.change_hiding(&[]).await
    }

    /// Like [`Self::change`], with variables of ours that a manager which is started shall not have: it passes its
    /// environment on to every agent, and a secret is for one.
    async fn change_hiding(&self, secrets: &[String]) -> Result<Client> {
        Client::connect(&lifecycle::ensure_manager(&self.data, secrets).await?).await
    }
}

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<()> {
    let Cli { global, command } = cli;
    if let Command::Completions { shell } = command {
        return completions::run(shell);
    }
    let out = Output::new(global.format, global.quiet);
    let app = App { data: DataDir::resolve(&global)?, out, clock: SystemClock };
    match command {
        Command::Daemon(args) => server::run(&app, &args.into()),
        Command::Api(args) => server::run(&app, &args.into()),
        Command::Proxy(args) => server::run(&app, &args.into()),
        Command::Up(args) => server::run(&app, &args.into()),
        other => {
            // One thread is enough for one conversation, and starts fastest.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.context("failed to start the runtime")?.block_on(run_client(&app, other))
        }
    }
}

async fn run_client(app: &App, command: Command) -> Result<()> {
    match command {
        Command::Register(args) => register::run(app, &args).await,
        Command::Update(args) => update::run(app, &args).await,
        Command::Unregister { names } => unregister::run(app, &names).await,
        Command::Scale { name, replicas } => scale::run(app, &name, replicas).await,
        Command::Start { selection } => run_services::run(app, Action::Start, &selection).await,
        Command::Stop { selection } => run_services::run(app, Action::Stop, &selection).await,
        Command::Restart { selection, all_at_once } => {
            run_services::run(app, Action::Restart { all_at_once }, &selection).await
        }
        Command::List { status, tags } => list::run(app, status, tags).await,
        Command::Status { name: Some(name) } => status::service(app, &name).await,
        Command::Status { name: None } => status::fleet(app).await,
        Command::Stats => stats::run(app).await,
        Command::Logs(args) => logs::run(app, &args).await,
        Command::Health(args) => health::run(app, &args).await,
        Command::Connections(args) => connections::run(app, args).await,
        Command::Disconnect(args) => disconnect::run(app, &args).await,
        Command::Route(command) => route::run(app, *command).await,
        Command::Events(args) => events::run(app, &args).await,
        Command::Doctor => doctor::run(app).await,
        Command::Upgrade(args) => upgrade::run(app, args).await,
        Command::LogLevel { level } => log_level::run(app, level).await,
        Command::Shutdown(args) => server::shut_down(app, args).await,
        // These were done before there was a runtime.
        Command::Daemon(_)
        | Command::Api(_)
        | Command::Proxy(_)
        | Command::Up(_)
        | Command::Completions { .. } => Ok(()),
    }
}
