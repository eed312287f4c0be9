//! `PUT /api/v1/routing/rules/{name or id}`: what is not given gets its default. When the answer comes, it is in force.

use crate::Ctx;
use crate::error::Result;
use crate::extract::{Json, Name};
use axum::extract::State;
use axum::response::Json as Answer;
use myagent_core::view::RuleView;

pub(crate) async fn put(State(shared): Ctx, Name(name): Name, Json(body): Json) -> Result<Answer<RuleView>> {
    Ok(Answer(shared.control.change_rule(&name, body, true, shared.who).await?))
}
