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

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    reason: Option<String>,
    code: Option<u16>,
    notify_client: Option<bool>,
}

pub(crate) async fn post(
    State(shared): Ctx,
    Name(id): Name,
    OptionalJson(body): OptionalJson,
) -> Result<Json<DisconnectView>> {
    let body: Body = body.map(parse).transpose()?.unwrap_or_default();
    let default = Disconnect::default();
    let what = Disconnect {
        code: body.code.unwrap_or(default.code),
        reason: body.reason.unwrap_or(default.reason),
        notify_client: body.notify_client.unwrap_or(default.notify_client),
    };
    Ok(Json(shared.control.disconnect(&id, what, shared.who).await?))
}
