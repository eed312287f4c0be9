//! `POST /api/v1/services`: registers a service. With `auto_start` its start has begun when the answer comes.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json as Answer, Response};
use myagent_core::request::NewService;

pub(crate) async fn post(State(shared): Ctx, Json(body): Json) -> Result<Response> {
    let new = NewService::from_json(body)?;
    let view = shared.control.register(new, shared.who).await?;
    // A registered name has only characters that need no escape in a path.
    let location = format!("/api/v1/services/{}", view.name);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Answer(view)).into_response())
}
