//! `GET /api/v1/services/{name or id}/logs?since=&until=&grep=&level=&tail=&follow=`: lines of output of all instances,
//! oldest first; with `follow=true` as server-sent events, and new ones as they come.

use crate::Ctx;
use crate::error::{ApiError, Result};
use crate::extract::{Name, Params};
use crate::serve::Closing;
use crate::sse;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use futures_util::stream;
use jiff::Timestamp;
use myagent_core::logs::{LogLevel, LogQuery};
use myagent_core::view::Page;
use serde::Deserialize;

const DEFAULT_TAIL: usize = 200;
const MAX_TAIL: usize = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogParams {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    grep: Option<String>,
    level: Option<LogLevel>,
    tail: Option<usize>,
    follow: bool,
}

pub(crate) async fn get(
    State(shared): Ctx,
    Name(name): Name,
    Params(params): Params<LogParams>,
    closing: Closing,
) -> Result<Response> {
    let name = shared.control.service(&name)?.name.clone();
    let tail = params.tail.unwrap_or(DEFAULT_TAIL).min(MAX_TAIL);
    let LogParams { since, until, grep, level, follow, .. } = params;
    let query = LogQuery { since, until, grep, level, tail: Some(tail) };
    if follow {
        if until.is_some() {
            return Err(ApiError::field("until", "cannot be used with follow, which has no end"));
        }
        let lines = shared.control.follow_logs(&name, query).await?;
        let items = stream::unfold(lines, |mut lines| async move {
            let line = lines.recv().await?;
            Some((sse::Item { id: None, data: line }, lines))
        });
        return Ok(sse::respond(items, &closing));
    }
    let lines = shared.control.logs(&name, query).await?;
    Ok(Json(Page::cut(lines, tail, 0)).into_response())
}
