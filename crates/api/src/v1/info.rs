//! `GET /api/v1/info`: the manager itself.

use crate::Ctx;
use axum::extract::State;
use axum::response::Json;
use myagent_core::view::InfoView;

pub(crate) async fn get(State(shared): Ctx) -> Json<InfoView> {
    Json(shared.manager.info())
}
