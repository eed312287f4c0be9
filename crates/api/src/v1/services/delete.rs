//! `DELETE /api/v1/services/{name or id}`: stops a service and forgets it.

use crate::Ctx;
use crate::conditional::IfMatch;
use crate::error::{ApiError, Result};
use crate::extract::Name;
use axum::extract::State;
use axum::http::StatusCode;
use myagent_core::Code;

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
    let (control, who) = (shared.control.clone(), shared.who);
    // It is done as a whole, also if its asker leaves while it is stopped.
    let done = shared.background.spawn(async move { control.unregister(&name, expected, who).await }).await;
    done.map_err(|error| ApiError::new(Code::Internal, format!("it was cut short: {error}")))??;
    Ok(StatusCode::NO_CONTENT)
}
