//! `POST /api/v1/services/{name or id}/start?wait=`: answers when all instances are ready, or with the cause why one is
//! not; with `wait=false` at once (202).

use super::stop::Wait;
use crate::Ctx;
use crate::error::Result;
use crate::extract::{Name, Params};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use myagent_core::view::ServiceView;

/// Starts a service.
///
/// Answers when all instances are ready, or with the cause why one is not; with `wait=false` at once. One that runs is left alone.
#[utoipa::path(
    post,
    path = "/{service}/start",
    operation_id = "start_service",
    tag = "services",
    params(("service" = String, Path, description = "Name or id."), Wait),
    responses((status = 200, description = "It is ready.", body = ServiceView), (status = 202, description = "It begins.", body = ServiceView), (status = 409), (status = 502))
)]
pub(crate) async fn post(
    State(shared): Ctx,
    Name(name): Name,
    Params(wait): Params<Wait>,
) -> Result<Response> {
    let name = shared.control.service(&name)?.name.clone();
    let view = shared.control.start(&name, wait.wait, shared.who).await?;
    let status = if wait.wait { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(view)).into_response())
}
