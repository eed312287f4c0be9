//! `/api/v1`: one file per endpoint, listed here.

pub(crate) mod connections;
mod events;
mod info;
mod logs;
pub(crate) mod manager;
mod notifications;
mod routing;
pub(crate) mod services;
mod stats;

use crate::Shared;
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/info", get(info::get))
        .route("/stats", get(stats::get))
        .route("/events", get(events::get))
        .route("/logs/search", get(logs::search::get))
        .route("/notifications", post(notifications::post))
        .nest("/connections", connections::routes())
        .nest("/routing", routing::routes())
        .nest("/services", services::routes())
}
