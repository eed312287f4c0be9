//! `/api/v1`: one file per endpoint, listed here.

pub(crate) mod connections;
mod doctor;
mod events;
mod info;
mod logs;
pub(crate) mod manager;
mod notifications;
mod routing;
pub(crate) mod services;
mod stats;

use crate::Shared;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(info::get))
        .routes(routes!(doctor::get))
        .routes(routes!(events::get))
        .routes(routes!(logs::search::get))
        .routes(routes!(notifications::post))
        .nest("/connections", connections::routes())
        .nest("/routing", routing::routes())
        .nest("/services", services::routes())
        .nest("/stats", stats::routes())
}
