//! `GET /api/v1/services/{name or id}/logs?since=&until=&grep=&level=&tail=&follow=`: lines of output of all instances,
//! oldest first; with `follow=true` as server-sent events, and new ones as they come.

use crate::Ctx;
use crate::error::{ApiError, Result};
use crate::extract::{Name, Params};
use crate::paging;
use crate::serve::Closing;
use crate::sse;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use futures_util::stream;
use jiff::Timestamp;
use myagent_core::logs::{LogLevel, LogLine, LogQuery};
use myagent_core::view::Page;
use serde::Deserialize;
use utoipa::IntoParams;

const DEFAULT_TAIL: u32 = 200;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogParams {
    /// Only lines from this time on.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(deserialize_with = "paging::time")]
    since: Option<Timestamp>,
    /// Only lines up to this time; not with `follow`.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(deserialize_with = "paging::time")]
    until: Option<Timestamp>,
    /// Only lines that match this regular expression.
    grep: Option<String>,
    /// Only lines that are at least so severe.
    #[param(inline)]
    level: Option<LogLevel>,
    /// Most lines, the last ones; at most 100,000.
    #[param(minimum = 1, maximum = 100_000, default = 200)]
    #[serde(deserialize_with = "paging::up_to::<_, 100_000>")]
    tail: Option<u32>,
    /// Only of this instance: `weather-0`.
    instance: Option<String>,
    /// Server-sent events, and new lines as they come.
    follow: bool,
}

/// Reads the output of a service, the oldest line first.
///
/// With `follow=true` as server-sent events, and new lines as they come.
#[utoipa::path(
    get,
    path = "/{service}/logs",
    operation_id = "get_service_logs",
    tag = "logs",
    params(("service" = String, Path, description = "Name or id."), LogParams),
    responses((status = 200, description = "Lines of output.", content((Page<LogLine> = "application/json"), (String = "text/event-stream"))))
)]
pub(crate) async fn get(
    State(shared): Ctx,
    Name(name): Name,
    Params(params): Params<LogParams>,
    closing: Closing,
) -> Result<Response> {
    let name = shared.control.service(&name)?.name.clone();
    let tail = params.tail.unwrap_or(DEFAULT_TAIL) as usize;
    let LogParams { since, until, grep, level, instance, follow, .. } = params;
    let query = LogQuery { since, until, grep, level, tail: Some(tail), instance };
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
