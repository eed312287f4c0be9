//! `GET /api/v1/stats`: the fleet in numbers.

use crate::Ctx;
use axum::extract::State;
use axum::response::Json;
use myagent_core::view::FleetView;

pub(crate) async fn get(State(shared): Ctx) -> Json<FleetView> {
    Json(shared.control.fleet())
}
