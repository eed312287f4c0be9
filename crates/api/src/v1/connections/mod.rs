//! `/api/v1/connections`: one file per endpoint, listed here.

mod delete;
mod disconnect;
mod get;
pub(crate) mod list;
mod stats;

use crate::Shared;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list::get))
        .routes(routes!(stats::get))
        .routes(routes!(get::get, delete::delete))
        .routes(routes!(disconnect::post))
}
