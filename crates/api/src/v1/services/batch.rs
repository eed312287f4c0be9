//! `POST /api/v1/services/batch {action, names|all|tag}`: starts, stops, restarts or deletes several services at once, and says
//! what came of each.

use super::stop::{Wait, in_background};
use crate::error::{ApiError, Result};
use crate::extract::{Json, Params, parse};
use crate::{Ctx, Shared};
use axum::extract::State;
use axum::response::Json as Answer;
use futures_util::{StreamExt, stream};
use myagent_control::{Handle, RestartMode};
use myagent_core::request::BatchItem;
use myagent_core::service::Desired;
use myagent_core::view::{Page, ServiceView};
use myagent_core::{Code, Problem};
use serde::Deserialize;
use std::collections::HashSet;
use std::sync::Arc;
use utoipa::ToSchema;

/// Services that are worked on at the same time.
const AT_ONCE: usize = 64;
/// Most names in one request.
const MAX_NAMES: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Action {
    Start,
    Stop,
    Restart,
    Delete,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    action: Action,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    tag: Option<String>,
    /// For `restart`: not one instance after the other.
    #[serde(default)]
    all_at_once: bool,
}

/// Starts, stops, restarts or deletes several services, and says what came of each.
#[utoipa::path(
    post,
    path = "/batch",
    operation_id = "batch_services",
    tag = "services",
    params(Wait),
    request_body = Batch,
    responses((status = 200, description = "What came of each.", body = Page<BatchItem>))
)]
pub(crate) async fn post(
    State(shared): Ctx,
    Params(wait): Params<Wait>,
    Json(body): Json,
) -> Result<Answer<Page<BatchItem>>> {
    let batch: Batch = parse(body)?;
    let names = batch.select(&shared.control.services())?;
    let mode = if batch.all_at_once { RestartMode::AllAtOnce } else { RestartMode::Rolling };
    let background = shared.background.clone();
    // All of them are done, also if the asker leaves.
    let work = background.spawn(async move {
        let (shared, batch) = (&shared, &batch);
        let each = stream::iter(names.into_iter().enumerate()).map(|(place, name)| async move {
            let problem = act(shared, batch.action, mode, &name, wait.wait).await.err();
            (place, BatchItem { name, problem })
        });
        // One that takes long keeps nobody waiting.
        let mut items: Vec<(usize, BatchItem)> = each.buffer_unordered(AT_ONCE).collect().await;
        items.sort_by_key(|(place, _)| *place);
        items
    });
    let items =
        work.await.map_err(|error| ApiError::new(Code::Internal, format!("it was cut short: {error}")))?;
    let items: Vec<BatchItem> = items.into_iter().map(|(_, item)| item).collect();
    let count = items.len();
    Ok(Answer(Page::cut(items, count, 0)))
}

impl Batch {
    /// The names that are meant, each once. A restart of all or of a tag leaves stopped services alone.
    fn select(&self, services: &[Arc<ServiceView>]) -> Result<Vec<String>> {
        let ways =
            usize::from(self.names.is_some()) + usize::from(self.all) + usize::from(self.tag.is_some());
        if ways != 1 {
            return Err(ApiError::field("names", "give exactly one of names, all and tag"));
        }
        if let Some(names) = &self.names {
            if names.is_empty() || names.len() > MAX_NAMES {
                return Err(ApiError::field("names", format!("must be from 1 to {MAX_NAMES} names")));
            }
            let mut seen = HashSet::new();
            return Ok(names.iter().filter(|name| seen.insert(*name)).cloned().collect());
        }
        let tagged = |view: &ServiceView| self.tag.as_ref().is_none_or(|tag| view.tags.contains(tag));
        let meant = |view: &ServiceView| self.action != Action::Restart || view.desired == Desired::Running;
        let chosen: Vec<_> = services.iter().filter(|view| tagged(view)).collect();
        if let (Some(tag), true) = (&self.tag, chosen.is_empty()) {
            return Err(ApiError::field("tag", format!("no service has the tag {tag:?}")));
        }
        Ok(chosen.into_iter().filter(|view| meant(view)).map(|view| view.name.clone()).collect())
    }
}

async fn act(
    shared: &Shared,
    action: Action,
    mode: RestartMode,
    name: &str,
    wait: bool,
) -> std::result::Result<(), Problem> {
    let name = shared.control.service(name)?.name.clone();
    let command = run(shared.control.clone(), action, mode, name.clone(), wait, shared.who);
    if wait || action == Action::Start {
        return command.await;
    }
    in_background(shared, name, command);
    Ok(())
}

async fn run(
    control: Handle,
    action: Action,
    mode: RestartMode,
    name: String,
    wait: bool,
    who: &'static str,
) -> std::result::Result<(), Problem> {
    match action {
        Action::Start => control.start(&name, wait, who).await?,
        Action::Stop => control.stop(&name, who).await?,
        Action::Restart => control.restart(&name, mode, who).await?,
        Action::Delete => return control.unregister(&name, None, who).await,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::view;
    use super::*;
    use serde_json::json;

    fn check(body: &serde_json::Value, expected: &str) {
        let mut views = vec![view("a", 1), view("b", 2), view("c", 3)];
        views[0].desired = Desired::Running;
        views[0].tags = ["eu".to_owned()].into();
        views[1].tags = ["eu".to_owned()].into();
        let views: Vec<_> = views.into_iter().map(Arc::new).collect();
        let found = parse::<Batch>(body.clone()).and_then(|batch| batch.select(&views));
        assert_eq!(found.map_or_else(|error| error.0.detail, |names| names.join(" ")), expected, "{body}");
    }

    #[test]
    fn the_services_that_are_meant_are_found() {
        check(&json!({"action": "start", "all": true}), "a b c");
        check(&json!({"action": "restart", "all": true}), "a");
        check(&json!({"action": "stop", "tag": "eu"}), "a b");
        check(&json!({"action": "restart", "names": ["b", "x", "b"]}), "b x");
        check(&json!({"action": "stop", "tag": "us"}), "tag: no service has the tag \"us\"");
        check(&json!({"action": "stop"}), "names: give exactly one of names, all and tag");
        check(
            &json!({"action": "stop", "all": true, "tag": "eu"}),
            "names: give exactly one of names, all and tag",
        );
        check(&json!({"action": "stop", "names": []}), "names: must be from 1 to 1000 names");
        check(
            &json!({"action": "fly", "all": true}),
            "action: unknown variant `fly`, expected one of `start`, `stop`, `restart`, `delete`",
        );
    }
}
