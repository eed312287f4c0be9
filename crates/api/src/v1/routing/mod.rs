//! `/api/v1/routing`: one file per endpoint, listed here.

mod explain;
mod rules;

use crate::Shared;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(explain::post)).nest("/rules", rules::routes())
}
