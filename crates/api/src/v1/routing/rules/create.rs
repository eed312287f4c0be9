//! `POST /api/v1/routing/rules`: makes a rule. When the answer comes, it is in force.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json as Answer, Response};

pub(crate) async fn post(State(shared): Ctx, Json(body): Json) -> Result<Response> {
    let view = shared.control.create_rule(body, shared.who).await?;
    let location = format!("/api/v1/routing/rules/{}", view.rule.rule_id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Answer(view)).into_response())
}
