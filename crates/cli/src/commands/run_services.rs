//! `start`, `stop`, `restart`: of one service, several, all, or those with a tag.

use super::App;
use crate::args::select::Selection;
use crate::client::{Client, service_path};
use crate::exit::Failure;
use crate::output;
use crate::progress::spin;
use anyhow::Result;
use hyper::Method;
use myagent_core::request::BatchItem;
use myagent_core::view::{Page, ServiceView};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Stop,
    Restart { all_at_once: bool },
}

impl Action {
    /// In requests.
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart { .. } => "restart",
        }
    }

    /// While it is done, and when it is.
    fn tenses(self) -> (&'static str, &'static str) {
        match self {
            Self::Start => ("starting", "started"),
            Self::Stop => ("stopping", "stopped"),
            Self::Restart { .. } => ("restarting", "restarted"),
        }
    }

    fn all_at_once(self) -> bool {
        self == Self::Restart { all_at_once: true }
    }
}

pub(super) async fn run(app: &App, action: Action, selection: &Selection) -> Result<()> {
    let mut client = app.change().await?;
    let spinner = spin(&app.out, format!("{} {}", action.tenses().0, selection.describe()));
    if let Some(name) = selection.single() {
        let view = one(&mut client, action, name).await?;
        drop(spinner);
        return show_one(app, action, &view);
    }
    let body = selection.to_batch(action.word(), action.all_at_once());
    let page: Page<BatchItem> = client.send(Method::POST, "/api/v1/services/batch", Some(&body)).await?;
    drop(spinner);
    show_several(app, action, &page.items)
}

async fn one(client: &mut Client, action: Action, name: &str) -> Result<ServiceView> {
    let query = if action.all_at_once() { "?all_at_once=true" } else { "" };
    client.send(Method::POST, &service_path(name, &format!("/{}{query}", action.word())), None).await
}

fn show_one(app: &App, action: Action, view: &ServiceView) -> Result<()> {
    if app.out.is_json() {
        return output::json(view);
    }
    let address = match (action, &view.endpoint) {
        (Action::Start | Action::Restart { .. }, Some(endpoint)) => {
            format!(": {} at {endpoint}", view.status)
        }
        _ => String::new(),
    };
    Ok(app.out.done(&format!("{} {}{address}", action.tenses().1, view.name))?)
}

fn show_several(app: &App, action: Action, items: &[BatchItem]) -> Result<()> {
    if app.out.is_json() {
        output::json(&items)?;
    } else if items.is_empty() {
        app.out.note("there is nothing to do");
    }
    for item in items {
        match &item.problem {
            None => app.out.done(&format!("{} {}", action.tenses().1, item.name))?,
            Some(problem) => output::error(&format!("{}: {problem}", item.name)),
        }
    }
    let failed = items.iter().filter(|item| item.problem.is_some()).count();
    if failed > 0 { Err(Failure::Partly { failed, total: items.len() }.into()) } else { Ok(()) }
}
