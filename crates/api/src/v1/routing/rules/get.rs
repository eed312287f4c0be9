//! `GET /api/v1/routing/rules/{name or id}`: a rule, with what went by it.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::response::Json;
use myagent_core::view::RuleView;

pub(crate) async fn get(State(shared): Ctx, Name(name): Name) -> Result<Json<RuleView>> {
    Ok(Json(shared.control.rule(&name)?))
}
