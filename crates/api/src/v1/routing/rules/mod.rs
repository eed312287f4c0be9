//! `/api/v1/routing/rules`: one file per endpoint, listed here.

mod create;
mod delete;
mod dry_run;
mod get;
mod list;
mod replace;
mod update;

use crate::Shared;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list::get, create::post))
        .routes(routes!(dry_run::post))
        .routes(routes!(get::get, replace::put, update::patch, delete::delete))
}
