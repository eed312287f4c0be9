//! `GET /api/v1/services/{name or id}/stats`: its numbers alone.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::response::Json;
use myagent_core::view::ServiceStats;

pub(crate) async fn get(State(shared): Ctx, Name(name): Name) -> Result<Json<ServiceStats>> {
    Ok(Json(shared.control.service(&name)?.stats.clone()))
}
