//! `GET /api/v1/info`: the manager itself.

use crate::Ctx;
use axum::extract::State;
use axum::response::Json;
use myagent_core::view::InfoView;

/// Shows the manager itself.
#[utoipa::path(
    get,
    path = "/info",
    operation_id = "get_info",
    tag = "manager",
    responses((status = 200, description = "The manager.", body = InfoView))
)]
pub(crate) async fn get(State(shared): Ctx) -> Json<InfoView> {
    Json(shared.manager.info())
}
