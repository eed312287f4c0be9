//! `GET /api/v1/stats`: the fleet in numbers.

use crate::Ctx;
use axum::extract::State;
use axum::response::Json;
use myagent_core::view::FleetView;

/// Shows the fleet in numbers.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "get_stats",
    tag = "statistics",
    responses((status = 200, description = "The fleet.", body = FleetView))
)]
pub(crate) async fn get(State(shared): Ctx) -> Json<FleetView> {
    Json(shared.control.fleet())
}
