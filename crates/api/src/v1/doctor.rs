//! `GET /api/v1/doctor`: what `doctor` finds on the manager's machine. It changes nothing, so it is for everybody.

use crate::Ctx;
use crate::error::Result;
use axum::extract::State;
use axum::response::Json;
use myagent_core::diagnosis::Diagnosis;

/// Examines the machine and the data directory, as the command `doctor` does.
///
/// It takes up to some seconds. One examination runs at a time; others wait.
#[utoipa::path(
    get,
    path = "/doctor",
    operation_id = "examine",
    tag = "manager",
    responses((status = 200, description = "What was found, be it bad.", body = Diagnosis))
)]
pub(crate) async fn get(State(shared): Ctx) -> Result<Json<Diagnosis>> {
    Ok(Json(shared.manager.doctor().await?))
}
