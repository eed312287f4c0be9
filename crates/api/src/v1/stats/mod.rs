//! `/api/v1/stats`: one file per endpoint, listed here.

mod fleet;
mod metrics;
mod overview;
mod timeseries;

use crate::Shared;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(fleet::get))
        .routes(routes!(overview::get))
        .routes(routes!(metrics::get))
        .routes(routes!(timeseries::get))
}
