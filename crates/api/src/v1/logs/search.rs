//! `GET /api/v1/logs/search?q=&service=&level=&stream=&since=&until=&limit=`: lines of output of several services, the newest
//! first. `service` may name several, with commas. One that was cut short (`truncated`) has seen everything after `reached`,
//! and goes on with `until` set to that.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Params;
use axum::extract::State;
use axum::response::Json;
use jiff::Timestamp;
use myagent_core::logs::{FoundLines, LogLevel, LogSearch, LogStream};
use serde::Deserialize;

const DEFAULT_LIMIT: usize = 200;
const MAX_LIMIT: usize = 2000;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SearchParams {
    q: Option<String>,
    service: Option<String>,
    level: Option<LogLevel>,
    stream: Option<LogStream>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    limit: Option<usize>,
}

pub(crate) async fn get(
    State(shared): Ctx,
    Params(params): Params<SearchParams>,
) -> Result<Json<FoundLines>> {
    let SearchParams { q, service, level, stream, since, until, limit } = params;
    let names = service.as_deref().unwrap_or_default().split(',').map(str::trim);
    let services = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let limit = limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let query = LogSearch { q, services, level, stream, since, until, limit };
    Ok(Json(shared.control.search_logs(&query).await?))
}
