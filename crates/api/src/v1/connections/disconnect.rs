//! `POST /api/v1/connections/{id}/disconnect {reason, code, notify_client}`: closes a connection. Answers when it is closed,
//! or after about two seconds that it is not yet.

use crate::Ctx;
use crate::error::Result;
use crate::extract::{Name, OptionalJson, parse};
use axum::extract::State;
use axum::response::Json;
use myagent_control::Disconnect;
use myagent_core::view::DisconnectView;
use serde::Deserialize;
use utoipa::ToSchema;

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DisconnectBody {
    reason: Option<String>,
    code: Option<u16>,
    notify_client: Option<bool>,
}

/// Closes a connection.
///
/// Answers when it is closed, or after about two seconds that it is not yet.
#[utoipa::path(
    post,
    path = "/{connection}/disconnect",
    operation_id = "disconnect_connection",
    tag = "connections",
    params(("connection" = String, Path, description = "Id, or the beginning of one.")),
    request_body = Option<DisconnectBody>,
    responses((status = 200, description = "What came of it.", body = DisconnectView))
)]
pub(crate) async fn post(
    State(shared): Ctx,
    Name(id): Name,
    OptionalJson(body): OptionalJson,
) -> Result<Json<DisconnectView>> {
    let body: DisconnectBody = body.map(parse).transpose()?.unwrap_or_default();
    let default = Disconnect::default();
    let what = Disconnect {
        code: body.code.unwrap_or(default.code),
        reason: body.reason.unwrap_or(default.reason),
        notify_client: body.notify_client.unwrap_or(default.notify_client),
    };
    Ok(Json(shared.control.disconnect(&id, what, shared.who).await?))
}
