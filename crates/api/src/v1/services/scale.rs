//! `POST /api/v1/services/{name or id}/scale?wait= {replicas}`: changes the number of instances.

use super::stop::Wait;
use crate::Ctx;
use crate::error::Result;
use crate::extract::{Json, Name, Params, parse};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json as Answer, Response};
use myagent_core::view::ServiceView;
use serde::Deserialize;
use utoipa::ToSchema;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scale {
    replicas: u32,
}

/// Changes the number of instances.
#[utoipa::path(
    post,
    path = "/{service}/scale",
    operation_id = "scale_service",
    tag = "services",
    params(("service" = String, Path, description = "Name or id."), Wait),
    request_body = Scale,
    responses((status = 200, description = "It is so.", body = ServiceView), (status = 202, description = "It begins.", body = ServiceView), (status = 409), (status = 502))
)]
pub(crate) async fn post(
    State(shared): Ctx,
    Name(name): Name,
    Params(wait): Params<Wait>,
    Json(body): Json,
) -> Result<Response> {
    let name = shared.control.service(&name)?.name.clone();
    let Scale { replicas } = parse(body)?;
    let view = shared.control.scale(&name, replicas, wait.wait, shared.who).await?;
    let status = if wait.wait { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Answer(view)).into_response())
}
