//! `GET` and `PUT /api/v1/manager/log-level {level}`: what the manager logs, now and until it ends or is taken over from.

use crate::Ctx;
use crate::error::Result;
use crate::extract::{Json, parse};
use axum::extract::State;
use axum::response::Json as Answer;
use myagent_core::view::LogLevelView;

pub(crate) async fn get(State(shared): Ctx) -> Answer<LogLevelView> {
    Answer(LogLevelView { level: shared.manager.log_level() })
}

pub(crate) async fn put(State(shared): Ctx, Json(body): Json) -> Result<Answer<LogLevelView>> {
    let LogLevelView { level } = parse(body)?;
    shared.manager.set_log_level(&level)?;
    Ok(Answer(LogLevelView { level: shared.manager.log_level() }))
}
