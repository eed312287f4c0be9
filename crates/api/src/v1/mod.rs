//! `/api/v1`: one file per endpoint, listed here.

mod events;
mod info;
pub(crate) mod manager;
pub(crate) mod services;
mod stats;

use crate::Shared;
use axum::Router;
use axum::routing::get;
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/info", get(info::get))
        .route("/stats", get(stats::get))
        .route("/events", get(events::get))
        .nest("/services", services::routes())
}
