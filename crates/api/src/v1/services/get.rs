//! `GET /api/v1/services/{name or id}`: one service with everything that is known of it.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::response::Json;
use myagent_core::view::ServiceView;
use std::sync::Arc;

pub(crate) async fn get(State(shared): Ctx, Name(name): Name) -> Result<Json<Arc<ServiceView>>> {
    Ok(Json(shared.control.service(&name)?))
}
