//! `PATCH /api/v1/routing/rules/{name or id}`: changes what is given; null sets a field back to its default. When the answer
//! comes, it is in force.

use crate::Ctx;
use crate::conditional::{IfMatch, versioned};
use crate::document::RuleChangesBody;
use crate::error::Result;
use crate::extract::{Json, Name};
use axum::extract::State;
use axum::response::Response;
use myagent_core::view::RuleView;

/// Changes what is given of a rule; null sets a field back to its default.
#[utoipa::path(
    patch,
    path = "/{rule}",
    operation_id = "update_rule",
    tag = "routing",
    params(("rule" = String, Path, description = "Name or id."), ("If-Match" = Option<String>, Header, description = "Only if it is at this version: the ETag of an answer.")),
    request_body = RuleChangesBody,
    responses((status = 200, description = "It is in force.", body = RuleView, headers(("ETag" = String, description = "Its version."))), (status = 409), (status = 412))
)]
pub(crate) async fn patch(
    State(shared): Ctx,
    Name(name): Name,
    IfMatch(expected): IfMatch,
    Json(body): Json,
) -> Result<Response> {
    let view = shared.control.change_rule(&name, body, false, expected, shared.who).await?;
    let version = view.rule.version;
    Ok(versioned(view, version))
}
