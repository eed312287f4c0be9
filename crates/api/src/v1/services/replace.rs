//! `PUT /api/v1/services/{name or id}`: what is not given gets its default.

use super::update::{UpdateQuery, update};
use crate::Ctx;
use crate::conditional::IfMatch;
use crate::document::ServiceBody;
use crate::error::Result;
use crate::extract::{Json, Name, Params};
use axum::extract::State;
use axum::response::Response;
use myagent_core::update::Update;
use myagent_core::view::ServiceView;

/// Replaces a service: what is not given gets its default.
///
/// What runs goes on as it is until a restart; `restart_required` says so, and `restart=true` does it.
#[utoipa::path(
    put,
    path = "/{service}",
    operation_id = "replace_service",
    tag = "services",
    params(
        ("service" = String, Path, description = "Name or id."),
        UpdateQuery,
        ("If-Match" = Option<String>, Header, description = "Only if it is at this version: the ETag of an answer.")
    ),
    request_body = ServiceBody,
    responses(
        (
            status = 200,
            description = "It is changed.",
            body = ServiceView,
            headers(("ETag" = String, description = "Its version."))
        ),
        (status = 409),
        (status = 412),
        (status = 502)
    )
)]
pub(crate) async fn put(
    State(shared): Ctx,
    Name(name): Name,
    Params(query): Params<UpdateQuery>,
    IfMatch(expected): IfMatch,
    Json(body): Json,
) -> Result<Response> {
    let name = shared.control.service(&name)?.name.clone();
    update(&shared, &name, Update::whole(body, &name)?, expected, query).await
}
