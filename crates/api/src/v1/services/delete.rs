//! `DELETE /api/v1/services/{name or id}`: stops a service and forgets it.

use crate::Ctx;
use crate::conditional::IfMatch;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::http::StatusCode;

/// Stops a service and forgets it, with its logs.
#[utoipa::path(
    delete,
    path = "/{service}",
    operation_id = "delete_service",
    tag = "services",
    params(("service" = String, Path, description = "Name or id."), ("If-Match" = Option<String>, Header, description = "Only if it is at this version: the ETag of an answer.")),
    responses((status = 204, description = "It is gone."), (status = 412), (status = 502))
)]
pub(crate) async fn delete(
    State(shared): Ctx,
    Name(name): Name,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode> {
    let name = shared.control.service(&name)?.name.clone();
    shared.control.unregister(&name, expected, shared.who).await?;
    Ok(StatusCode::NO_CONTENT)
}
