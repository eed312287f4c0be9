//! `/api/v1/connections`: one file per endpoint, listed here.

mod delete;
mod disconnect;
mod get;
pub(crate) mod list;
mod stats;

use crate::Shared;
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(list::get))
        .route("/stats", get(stats::get))
        .route("/{connection}", get(get::get).delete(delete::delete))
        .route("/{connection}/disconnect", post(disconnect::post))
}
