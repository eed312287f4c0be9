//! `register NAME (FILE | -- COMMAND… | --endpoint URL)`.

use super::App;
use crate::args::service::{RegisterArgs, SecretValues};
use crate::client::service_path;
use crate::output;
use crate::progress::spin;
use crate::source::Caller;
use anyhow::{Context, Result, bail};
use hyper::Method;
use myagent_core::request::NewService;
use myagent_core::service::check_name;
use myagent_core::view::ServiceView;
use std::io::IsTerminal;

pub(super) async fn run(app: &App, args: &RegisterArgs) -> Result<()> {
    if let Err(message) = check_name(&args.name) {
        bail!("the name {message}");
    }
    let caller = Caller::current()?;
    let source =
        args.source.source(&caller)?.context("what shall it run? give a file, --endpoint, or -- COMMAND")?;
    let options = args.options.options(&caller, &Prompt)?;
    // Started below, so that one waits for it and learns why it does not start.
    let new = NewService { name: args.name.clone(), source, options, auto_start: args.auto_start };
    let mut client = app.change_hiding(args.options.secrets()).await?;
    let body = serde_json::to_value(&new)?;
    let mut view: ServiceView = client.send(Method::POST, "/api/v1/services", Some(&body)).await?;
    if args.auto_start {
        let _spinner = spin(&app.out, format!("starting {}", view.name));
        let path = service_path(&view.name, "/start");
        let name = &view.name;
        view = client.send(Method::POST, &path, None).await.with_context(|| {
            format!("{name} is registered, but did not start (see: myagent-manager status {name})")
        })?;
    }
    if app.out.is_json() {
        return output::json(&view);
    }
    let address = view.endpoint.as_ref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
    if args.auto_start {
        app.out.done(&format!("registered {} and started it: {}{address}", view.name, view.status))?;
    } else {
        app.out.done(&format!("registered {}", view.name))?;
        app.out.note(&format!("start it with: myagent-manager start {}", view.name));
    }
    Ok(())
}

/// Secrets from the caller's environment, else typed by it.
pub(super) struct Prompt;

impl SecretValues for Prompt {
    fn value(&self, name: &str) -> Result<String> {
        if let Some(value) = std::env::var_os(name) {
            return value
                .into_string()
                .map_err(|_| anyhow::anyhow!("the value of {name} is not valid UTF-8"));
        }
        if !std::io::stdin().is_terminal() {
            bail!(
                "the secret {name} has no value; set {name} in your environment, or name it in an --env-file"
            );
        }
        rpassword::prompt_password(format!("value of {name}: "))
            .with_context(|| format!("failed to read {name}"))
    }
}
