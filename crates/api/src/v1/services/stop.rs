//! `POST /api/v1/services/{name or id}/stop?wait=`: answers when nothing of the service is left, or names what could not
//! be killed; with `wait=false` at once (202).

use crate::error::Result;
use crate::extract::{Name, Params};
use crate::{Ctx, Shared};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use myagent_core::Problem;
use myagent_core::view::ServiceView;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// The query of commands that take a while.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wait {
    /// Answer when it is done.
    pub(crate) wait: bool,
}

impl Default for Wait {
    fn default() -> Self {
        Self { wait: true }
    }
}

/// Stops a service.
///
/// Answers when nothing of it is left, or names what could not be killed; with `wait=false` at once.
#[utoipa::path(
    post,
    path = "/{service}/stop",
    operation_id = "stop_service",
    tag = "services",
    params(("service" = String, Path, description = "Name or id."), Wait),
    responses((status = 200, description = "Nothing of it is left.", body = ServiceView), (status = 202, description = "It begins.", body = ServiceView), (status = 502))
)]
pub(crate) async fn post(
    State(shared): Ctx,
    Name(name): Name,
    Params(wait): Params<Wait>,
) -> Result<Response> {
    let name = shared.control.service(&name)?.name.clone();
    let (control, who, service) = (shared.control.clone(), shared.who, name.clone());
    let stop = async move { control.stop(&service, who).await };
    wait_or_not(&shared, &name, wait.wait, stop).await
}

/// Does `command` and answers with what came of it; or has it done while the caller goes on.
pub(super) async fn wait_or_not(
    shared: &Shared,
    name: &str,
    wait: bool,
    command: impl Future<Output = std::result::Result<Arc<ServiceView>, Problem>> + Send + 'static,
) -> Result<Response> {
    if wait {
        return Ok(Json(command.await?).into_response());
    }
    in_background(shared, name.to_owned(), command);
    // Lets the command reach the engine before the caller's next one does.
    tokio::task::yield_now().await;
    Ok((StatusCode::ACCEPTED, Json(shared.control.service(name)?)).into_response())
}

/// Has a command done that nobody waits for; that it failed is told in the manager's log.
pub(super) fn in_background<T>(
    shared: &Shared,
    service: String,
    command: impl Future<Output = std::result::Result<T, Problem>> + Send + 'static,
) {
    shared.background.spawn(async move {
        if let Err(problem) = command.await {
            tracing::warn!(service, %problem, "a command that nobody waits for failed");
        }
    });
}
