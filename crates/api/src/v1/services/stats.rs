//! `GET /api/v1/services/{name or id}/stats`: its numbers alone.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::response::Json;
use myagent_core::view::ServiceStats;

/// Shows the numbers of a service.
#[utoipa::path(
    get,
    path = "/{service}/stats",
    operation_id = "get_service_stats",
    tag = "statistics",
    params(("service" = String, Path, description = "Name or id.")),
    responses((status = 200, description = "Its numbers.", body = ServiceStats))
)]
pub(crate) async fn get(State(shared): Ctx, Name(name): Name) -> Result<Json<ServiceStats>> {
    Ok(Json(shared.control.service(&name)?.stats.clone()))
}
