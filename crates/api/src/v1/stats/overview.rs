//! `GET /api/v1/stats/overview`: the fleet at a glance.

use crate::Ctx;
use crate::error::Result;
use axum::extract::State;
use axum::response::Json;
use myagent_core::overview::Overview;

/// Shows the fleet at a glance, and what needs attention, the worst first.
#[utoipa::path(
    get,
    path = "/overview",
    operation_id = "get_overview",
    tag = "statistics",
    responses((status = 200, description = "The fleet.", body = Overview))
)]
pub(crate) async fn get(State(shared): Ctx) -> Result<Json<Overview>> {
    let recent = shared.control.recent(None).await?;
    let overview = shared.control.overview(shared.manager.info().started_at);
    Ok(Json(Overview { recent, ..overview }))
}
