//! `GET /api/v1/routing/rules/{name or id}`: a rule, with what went by it.

use crate::Ctx;
use crate::conditional::versioned;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::response::Response;
use myagent_core::view::RuleView;

/// Shows a rule, with what went by it.
#[utoipa::path(
    get,
    path = "/{rule}",
    operation_id = "get_rule",
    tag = "routing",
    params(("rule" = String, Path, description = "Name or id.")),
    responses((status = 200, description = "The rule.", body = RuleView, headers(("ETag" = String, description = "Its version."))))
)]
pub(crate) async fn get(State(shared): Ctx, Name(name): Name) -> Result<Response> {
    let view = shared.control.rule(&name)?;
    let version = view.rule.version;
    Ok(versioned(view, version))
}
