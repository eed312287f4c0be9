//! `POST /api/v1/routing/explain {path, client_ip, client_port, headers}`: who would get this client now, and why. It is the
//! front door's own decision with its own loads; nobody's turn is taken.

use crate::Ctx;
use crate::error::Result;
use crate::extract::{OptionalJson, parse};
use axum::extract::State;
use axum::response::Json;
use myagent_core::routing::{ExplainRequest, Explanation};

/// Says who would get a client now, and why.
///
/// Nobody's turn is taken.
#[utoipa::path(
    post,
    path = "/explain",
    operation_id = "explain_routing",
    tag = "routing",
    request_body = Option<ExplainRequest>,
    responses((status = 200, description = "Who would get the client.", body = Explanation))
)]
pub(crate) async fn post(State(shared): Ctx, OptionalJson(body): OptionalJson) -> Result<Json<Explanation>> {
    let request: ExplainRequest = body.map(parse).transpose()?.unwrap_or_default();
    request.validate()?;
    Ok(Json(shared.manager.explain(request).await?))
}
