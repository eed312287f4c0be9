//! `GET /api/v1/services/{name or id}/connections`: a page of its open connections, with the filters of `/connections`.

use crate::Ctx;
use crate::error::{ApiError, Result};
use crate::extract::{Name, Params};
use crate::v1::connections::list::{ListQuery, page};
use axum::extract::State;
use axum::response::Json;
use myagent_core::view::{ConnectionView, Page};

/// Lists the open connections of a service.
#[utoipa::path(
    get,
    path = "/{service}/connections",
    operation_id = "list_service_connections",
    tag = "connections",
    params(("service" = String, Path, description = "Name or id."), ListQuery),
    responses((status = 200, description = "A page of connections.", body = Page<ConnectionView>))
)]
pub(crate) async fn get(
    State(shared): Ctx,
    Name(name): Name,
    Params(mut query): Params<ListQuery>,
) -> Result<Json<Page<ConnectionView>>> {
    if query.service.is_some() {
        return Err(ApiError::field("service", "is in the path already"));
    }
    query.service = Some(name);
    page(&shared, query)
}
