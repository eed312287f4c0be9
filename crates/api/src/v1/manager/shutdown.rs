//! `POST /api/v1/manager/shutdown {keep_services}`: ends the manager; answers when everything is stopped.

use crate::Ctx;
use crate::error::Result;
use crate::extract::{OptionalJson, parse};
use axum::extract::State;
use axum::http::StatusCode;
use myagent_control::StopAll;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Shutdown {
    /// Let the instances go on without a manager.
    keep_services: bool,
}

pub(crate) async fn post(State(shared): Ctx, OptionalJson(body): OptionalJson) -> Result<StatusCode> {
    let request: Shutdown = body.map(parse).transpose()?.unwrap_or_default();
    let instances = if request.keep_services { StopAll::Keep } else { StopAll::Stop };
    shared.manager.shut_down(instances, shared.who.to_owned()).await?;
    Ok(StatusCode::NO_CONTENT)
}
