//! `POST /api/v1/routing/rules`: makes a rule. When the answer comes, it is in force.

use crate::Ctx;
use crate::conditional::{IdempotencyKey, created};
use crate::document::RuleBody;
use crate::error::Result;
use crate::extract::Json;
use axum::extract::State;
use axum::response::Response;
use myagent_core::view::RuleView;

/// Makes a rule. When the answer comes, it is in force.
#[utoipa::path(
    post,
    path = "/",
    operation_id = "create_rule",
    tag = "routing",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes it once, however often it is asked for within a day.", max_length = 255)),
    request_body = RuleBody,
    responses((status = 201, description = "It is in force.", body = RuleView, headers(("ETag" = String, description = "Its version."), ("Location" = String, description = "Its path."))), (status = 409))
)]
pub(crate) async fn post(State(shared): Ctx, key: IdempotencyKey, Json(body): Json) -> Result<Response> {
    let once = key.of("rule", &body);
    let (view, made) = shared.control.create_rule(body, once, shared.who).await?;
    let location = format!("/api/v1/routing/rules/{}", view.rule.rule_id);
    let version = view.rule.version;
    Ok(created(view, made, location, version))
}
