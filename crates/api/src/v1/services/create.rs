//! `POST /api/v1/services`: registers a service. With `auto_start` its start has begun when the answer comes.

use crate::Ctx;
use crate::conditional::{IdempotencyKey, created};
use crate::document::NewServiceBody;
use crate::error::Result;
use crate::extract::Json;
use axum::extract::State;
use axum::response::Response;
use myagent_core::request::NewService;
use myagent_core::view::ServiceView;

/// Registers a service.
///
/// With `auto_start` its start has begun when the answer comes.
#[utoipa::path(
    post,
    path = "/",
    operation_id = "create_service",
    tag = "services",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes it once, however often it is asked for within a day.", max_length = 255)),
    request_body = NewServiceBody,
    responses((status = 201, description = "It is registered.", body = ServiceView, headers(("ETag" = String, description = "Its version."), ("Location" = String, description = "Its path."))), (status = 409))
)]
pub(crate) async fn post(State(shared): Ctx, key: IdempotencyKey, Json(body): Json) -> Result<Response> {
    let once = key.of("service", &body);
    let new = NewService::from_json(body)?;
    let (view, made) = shared.control.register(new, once, shared.who).await?;
    // A registered name has only characters that need no escape in a path.
    let location = format!("/api/v1/services/{}", view.name);
    let version = view.version;
    Ok(created(view, made, location, version))
}
