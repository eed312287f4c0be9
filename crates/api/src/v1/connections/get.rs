//! `GET /api/v1/connections/{id}`: one open connection, by its id or the beginning of it.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::response::Json;
use myagent_core::view::ConnectionView;

/// Shows an open connection.
#[utoipa::path(
    get,
    path = "/{connection}",
    operation_id = "get_connection",
    tag = "connections",
    params(("connection" = String, Path, description = "Id, or the beginning of one.")),
    responses((status = 200, description = "The connection.", body = ConnectionView))
)]
pub(crate) async fn get(State(shared): Ctx, Name(id): Name) -> Result<Json<ConnectionView>> {
    Ok(Json(shared.control.connection(&id)?))
}
