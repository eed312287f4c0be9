//! `POST /api/v1/notifications {message, service|connection_id, level}`: a text for clients that asked for events of our own.

use crate::Ctx;
use crate::error::Result;
use crate::extract::{Json, parse};
use axum::extract::State;
use axum::response::Json as Answer;
use myagent_control::Notification;
use myagent_core::view::NotificationView;

/// Tells clients that asked for events of ours something.
#[utoipa::path(
    post,
    path = "/notifications",
    operation_id = "notify",
    tag = "connections",
    request_body = Notification,
    responses((status = 200, description = "How many get it.", body = NotificationView), (status = 404))
)]
pub(crate) async fn post(State(shared): Ctx, Json(body): Json) -> Result<Answer<NotificationView>> {
    let what: Notification = parse(body)?;
    Ok(Answer(shared.control.notify(what, shared.who).await?))
}
