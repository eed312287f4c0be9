//! `DELETE /api/v1/services/{name or id}`: stops a service and forgets it.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::http::StatusCode;

pub(crate) async fn delete(State(shared): Ctx, Name(name): Name) -> Result<StatusCode> {
    let name = shared.control.service(&name)?.name.clone();
    shared.control.unregister(&name, shared.who).await?;
    Ok(StatusCode::NO_CONTENT)
}
