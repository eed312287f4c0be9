//! `/api/v1/routing/rules`: one file per endpoint, listed here.

mod create;
mod delete;
mod get;
mod list;
mod replace;
mod update;

use crate::Shared;
use axum::Router;
use axum::routing::get;
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(list::get).post(create::post))
        .route("/{rule}", get(get::get).put(replace::put).patch(update::patch).delete(delete::delete))
}
