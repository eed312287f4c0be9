//! `/api/v1/routing`: one file per endpoint, listed here.

mod explain;
mod rules;

use crate::Shared;
use axum::Router;
use axum::routing::post;
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/explain", post(explain::post)).nest("/rules", rules::routes())
}
