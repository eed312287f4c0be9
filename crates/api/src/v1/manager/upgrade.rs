//! `POST /api/v1/manager/upgrade {program}`: a new process takes over; answers when it has.

use crate::Ctx;
use crate::error::Result;
use crate::extract::{Json, parse};
use axum::extract::State;
use axum::response::Json as Answer;
use myagent_core::view::UpgradeView;
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Upgrade {
    /// What the new process runs; absolute.
    program: PathBuf,
}

pub(crate) async fn post(State(shared): Ctx, Json(body): Json) -> Result<Answer<UpgradeView>> {
    let Upgrade { program } = parse(body)?;
    Ok(Answer(shared.manager.upgrade(program).await?))
}
