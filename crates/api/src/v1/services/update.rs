//! `PATCH /api/v1/services/{name or id}`: changes what is given. What runs goes on as it is until it is restarted.

use crate::Ctx;
use crate::error::Result;
use crate::extract::{Json, Name};
use axum::extract::State;
use axum::response::Json as Answer;
use myagent_core::request::Changes;
use myagent_core::view::ServiceView;
use std::sync::Arc;

pub(crate) async fn patch(
    State(shared): Ctx,
    Name(name): Name,
    Json(body): Json,
) -> Result<Answer<Arc<ServiceView>>> {
    let name = shared.control.service(&name)?.name.clone();
    let changes = Changes::from_json(body)?;
    Ok(Answer(shared.control.update(&name, changes, shared.who).await?))
}
