//! `upgrade`: a new process takes over from the manager that runs.

use super::App;
use crate::args::server::UpgradeArgs;
use crate::output;
use crate::progress::spin;
use anyhow::{Context, Result};
use hyper::Method;
use myagent_core::view::UpgradeView;
use myagent_core::{Code, Problem};
use serde_json::json;

pub(super) async fn run(app: &App, args: UpgradeArgs) -> Result<()> {
    let program = match args.program {
        Some(program) => {
            program.canonicalize().with_context(|| format!("failed to find {}", program.display()))?
        }
        None => std::env::current_exe().context("failed to find our own program")?,
    };
    let mut client = app.look().await?;
    let spinner = spin(&app.out, "upgrading");
    let body = json!({ "program": program });
    let answer = client.send(Method::POST, "/api/v1/manager/upgrade", Some(&body)).await;
    drop(spinner);
    let view: UpgradeView = answer.map_err(|error| match error.downcast_ref::<Problem>() {
        Some(problem) if problem.code == Code::NotFound => {
            error.context("the manager that runs is too old for this; use: shutdown --keep-services, then start the new one")
        }
        _ => error,
    })?;
    if app.out.is_json() {
        return output::json(&view);
    }
    let UpgradeView { pid, version, previous_version } = view;
    let versions =
        if version == previous_version { version } else { format!("{version}, from {previous_version}") };
    Ok(app.out.done(&format!("upgraded: process {pid} is the manager now (version {versions})"))?)
}
