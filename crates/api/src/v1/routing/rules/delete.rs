//! `DELETE /api/v1/routing/rules/{name or id}`: removes a rule. Connections that it routed stay open.

use crate::Ctx;
use crate::conditional::IfMatch;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::http::StatusCode;

/// Removes a rule. Connections that it routed stay open.
#[utoipa::path(
    delete,
    path = "/{rule}",
    operation_id = "delete_rule",
    tag = "routing",
    params(("rule" = String, Path, description = "Name or id."), ("If-Match" = Option<String>, Header, description = "Only if it is at this version: the ETag of an answer.")),
    responses((status = 204, description = "It is gone."), (status = 412))
)]
pub(crate) async fn delete(
    State(shared): Ctx,
    Name(name): Name,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode> {
    shared.control.delete_rule(&name, expected, shared.who).await?;
    Ok(StatusCode::NO_CONTENT)
}
