//! `POST /api/v1/services/{name or id}/scale?wait= {replicas}`: changes the number of instances.

use super::stop::Wait;
use crate::Ctx;
use crate::error::Result;
use crate::extract::{Json, Name, Params, parse};
use axum::extract::State;
use axum::response::Json as Answer;
use myagent_core::view::ServiceView;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    replicas: u32,
}

pub(crate) async fn post(
    State(shared): Ctx,
    Name(name): Name,
    Params(wait): Params<Wait>,
    Json(body): Json,
) -> Result<Answer<Arc<ServiceView>>> {
    let name = shared.control.service(&name)?.name.clone();
    let Scale { replicas } = parse(body)?;
    Ok(Answer(shared.control.scale(&name, replicas, wait.wait, shared.who).await?))
}
