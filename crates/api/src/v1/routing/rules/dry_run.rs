//! `POST /api/v1/routing/rules/dry-run {rule, replaces}`: what a rule would change for those who are connected. Nothing is made.

use crate::Ctx;
use crate::document::DryRunBody;
use crate::error::Result;
use crate::extract::Json;
use axum::extract::State;
use axum::response::Json as Answer;
use myagent_core::routing::dry_run::DryRun;

/// Says what a rule would change if those who are connected came again now. Nothing is made or changed.
///
/// A rule that could not be made is refused in the same way; its fields are named as they are when it is made. Of a connection only
/// address, port and `User-Agent` are kept: where it depends on more, it is undecided.
#[utoipa::path(
    post,
    path = "/dry-run",
    operation_id = "dry_run_rule",
    tag = "routing",
    request_body = DryRunBody,
    responses((status = 200, description = "What it would change.", body = DryRun), (status = 404), (status = 409))
)]
pub(crate) async fn post(State(shared): Ctx, Json(body): Json) -> Result<Answer<DryRun>> {
    Ok(Answer(shared.control.dry_run_rule(body).await?))
}
