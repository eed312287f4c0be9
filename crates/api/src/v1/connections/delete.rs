//! `DELETE /api/v1/connections/{id}`: closes a connection with the default code and reason.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::response::Json;
use myagent_control::Disconnect;
use myagent_core::view::DisconnectView;

/// Closes a connection with the default code and reason.
#[utoipa::path(
    delete,
    path = "/{connection}",
    operation_id = "delete_connection",
    tag = "connections",
    params(("connection" = String, Path, description = "Id, or the beginning of one.")),
    responses((status = 200, description = "What came of it.", body = DisconnectView))
)]
pub(crate) async fn delete(State(shared): Ctx, Name(id): Name) -> Result<Json<DisconnectView>> {
    Ok(Json(shared.control.disconnect(&id, Disconnect::default(), shared.who).await?))
}
