//! `GET /api/v1/services/{name or id}/instances`: its instances.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::response::Json;
use myagent_core::view::{InstanceView, Page};

/// Lists the instances of a service.
#[utoipa::path(
    get,
    path = "/{service}/instances",
    operation_id = "list_instances",
    tag = "services",
    params(("service" = String, Path, description = "Name or id.")),
    responses((status = 200, description = "Its instances.", body = Page<InstanceView>))
)]
pub(crate) async fn get(State(shared): Ctx, Name(name): Name) -> Result<Json<Page<InstanceView>>> {
    let view = shared.control.service(&name)?;
    let instances = view.instances.clone();
    let count = instances.len();
    Ok(Json(Page::cut(instances, count, 0)))
}
