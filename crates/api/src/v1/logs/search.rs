//! `GET /api/v1/logs/search?q=&service=&level=&stream=&since=&until=&limit=`: lines of output of several services, the newest
//! first. `service` may name several, with commas. One that was cut short (`truncated`) has seen everything after `reached`,
//! and goes on with `until` set to that.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Params;
use crate::paging;
use axum::extract::State;
use axum::response::Json;
use jiff::Timestamp;
use myagent_core::logs::{FoundLines, LogLevel, LogSearch, LogStream};
use serde::Deserialize;
use utoipa::IntoParams;

const DEFAULT_LIMIT: u32 = 200;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchParams {
    /// Only lines that match this regular expression.
    q: Option<String>,
    /// Only of these services, by name or id, separated by commas.
    service: Option<String>,
    /// Only lines that are at least so severe.
    #[param(inline)]
    level: Option<LogLevel>,
    /// Only of this stream.
    #[param(inline)]
    stream: Option<LogStream>,
    /// Only lines from this time on.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(deserialize_with = "paging::time")]
    since: Option<Timestamp>,
    /// Only lines up to this time.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(deserialize_with = "paging::time")]
    until: Option<Timestamp>,
    /// Most lines, at most 2000.
    #[param(minimum = 1, maximum = 2000, default = 200)]
    #[serde(deserialize_with = "paging::up_to::<_, 2000>")]
    limit: Option<u32>,
}

/// Searches the output of several services, the newest line first.
///
/// One that was cut short (`truncated`) has seen everything after `reached`, and goes on with `until` set to that.
#[utoipa::path(
    get,
    path = "/logs/search",
    operation_id = "search_logs",
    tag = "logs",
    params(SearchParams),
    responses((status = 200, description = "What was found.", body = FoundLines), (status = 404))
)]
pub(crate) async fn get(
    State(shared): Ctx,
    Params(params): Params<SearchParams>,
) -> Result<Json<FoundLines>> {
    let SearchParams { q, service, level, stream, since, until, limit } = params;
    let names = service.as_deref().unwrap_or_default().split(',').map(str::trim);
    let services = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let limit = limit.unwrap_or(DEFAULT_LIMIT) as usize;
    let query = LogSearch { q, services, level, stream, since, until, limit };
    Ok(Json(shared.control.search_logs(&query).await?))
}
