//! `DELETE /api/v1/routing/rules/{name or id}`: removes a rule. Connections that it routed stay open.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::http::StatusCode;

pub(crate) async fn delete(State(shared): Ctx, Name(name): Name) -> Result<StatusCode> {
    shared.control.delete_rule(&name, shared.who).await?;
    Ok(StatusCode::NO_CONTENT)
}
