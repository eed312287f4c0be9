//! `GET /api/v1/connections/stats`: open connections in numbers.

use crate::Ctx;
use axum::extract::State;
use axum::response::Json;
use myagent_core::view::ConnectionStats;

/// Counts open connections.
#[utoipa::path(
    get,
    path = "/stats",
    operation_id = "get_connection_stats",
    tag = "connections",
    responses((status = 200, description = "Their numbers.", body = ConnectionStats))
)]
pub(crate) async fn get(State(shared): Ctx) -> Json<ConnectionStats> {
    Json(shared.control.connection_stats())
}
