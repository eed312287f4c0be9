//! Changing a service: `PATCH /api/v1/services/{name or id}` changes what is given; `PUT`, of the service or of its settings, is in
//! files of its own and ends here, too.

use super::restart::restart_now;
use crate::conditional::{IfMatch, versioned};
use crate::document::ChangesBody;
use crate::error::Result;
use crate::extract::{Json, Name, Params};
use crate::{Ctx, Shared};
use axum::extract::State;
use axum::response::Response;
use myagent_core::request::Changes;
use myagent_core::update::Update;
use myagent_core::view::ServiceView;
use serde::Deserialize;
use utoipa::IntoParams;

/// What becomes of what runs.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UpdateQuery {
    /// Restart it, one instance after the other, if the change needs that.
    restart: bool,
    /// With `restart`: answer when that is done (the default).
    wait: Option<bool>,
}

/// Changes what is given of a service.
///
/// What runs goes on as it is until a restart; `restart_required` says so, and `restart=true` does it.
#[utoipa::path(
    patch,
    path = "/{service}",
    operation_id = "update_service",
    tag = "services",
    params(
        ("service" = String, Path, description = "Name or id."),
        UpdateQuery,
        ("If-Match" = Option<String>, Header, description = "Only if it is at this version: the ETag of an answer.")
    ),
    request_body = ChangesBody,
    responses(
        (
            status = 200,
            description = "It is changed.",
            body = ServiceView,
            headers(("ETag" = String, description = "Its version."))
        ),
        (status = 409),
        (status = 412),
        (status = 502)
    )
)]
pub(crate) async fn patch(
    State(shared): Ctx,
    Name(name): Name,
    Params(query): Params<UpdateQuery>,
    IfMatch(expected): IfMatch,
    Json(body): Json,
) -> Result<Response> {
    let name = shared.control.service(&name)?.name.clone();
    let changes = Changes::from_json(body)?;
    update(&shared, &name, Update::Some(Box::new(changes)), expected, query).await
}

/// Changes a service, and restarts it if that is needed and wanted.
pub(super) async fn update(
    shared: &Shared,
    name: &str,
    update: Update,
    expected: Option<u64>,
    query: UpdateQuery,
) -> Result<Response> {
    let mut view = shared.control.update(name, update, expected, shared.who).await?;
    if query.restart && view.restart_required {
        view = restart_now(shared, name, query.wait.unwrap_or(true)).await?;
    }
    let version = view.version;
    Ok(versioned(view, version))
}
