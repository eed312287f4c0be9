//! `GET /api/v1/services/{name or id}`: one service with everything that is known of it.

use crate::Ctx;
use crate::conditional::versioned;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::response::Response;
use myagent_core::view::ServiceView;

/// Shows a service, with its instances.
#[utoipa::path(
    get,
    path = "/{service}",
    operation_id = "get_service",
    tag = "services",
    params(("service" = String, Path, description = "Name or id.")),
    responses((status = 200, description = "The service.", body = ServiceView, headers(("ETag" = String, description = "Its version."))))
)]
pub(crate) async fn get(State(shared): Ctx, Name(name): Name) -> Result<Response> {
    let view = shared.control.service(&name)?;
    let version = view.version;
    Ok(versioned(view, version))
}
