//! `PATCH /api/v1/routing/rules/{name or id}`: changes what is given; null sets a field back to its default. When the answer
//! comes, it is in force.

use crate::Ctx;
use crate::error::Result;
use crate::extract::{Json, Name};
use axum::extract::State;
use axum::response::Json as Answer;
use myagent_core::view::RuleView;

pub(crate) async fn patch(
    State(shared): Ctx,
    Name(name): Name,
    Json(body): Json,
) -> Result<Answer<RuleView>> {
    Ok(Answer(shared.control.change_rule(&name, body, false, shared.who).await?))
}
