//! `GET /api/v1/stats/timeseries?metric=&service=&instance=&from=&to=&interval=&agg=&group_by=&top=`: a metric over time.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Params;
use axum::extract::State;
use axum::response::Json;
use myagent_core::series::{TimeseriesQuery, TimeseriesView};
use serde::Deserialize;
use utoipa::IntoParams;

#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Question {
    /// Name of a metric: `messages_in`, `cpu_percent`, `first_response_seconds`; `stats/metrics` lists them.
    #[param(example = "messages_in")]
    metric: String,
    /// Only of this service, by name or id.
    service: Option<String>,
    /// Only of this instance: `weather-0`.
    instance: Option<String>,
    /// From when on: a time, seconds since 1970, or how long ago (`2h`); default an hour before `to`.
    from: Option<String>,
    /// Until when, likewise; default now.
    to: Option<String>,
    /// Length of a point: seconds, or `30s`, `5m`, `1h`, `1d`; default such that there are about 300.
    interval: Option<String>,
    /// `avg`, `min`, `max`, `sum`, `rate`, or of histograms `p50`, `p90`, `p99`; default `rate` for counters, `sum` for gauges, else
    /// `avg`.
    agg: Option<String>,
    /// One series for each `service` or `instance`; default `none`, one in all.
    group_by: Option<String>,
    /// Only so many series, those with the largest values; `left_out` tells how many more there are. Default all.
    #[param(minimum = 1, maximum = 1000)]
    top: Option<usize>,
}

/// Shows a metric over time.
///
/// Samples of 10 s are kept for a day, of a minute for two weeks, of an hour for a year. What was not measured is null.
#[utoipa::path(
    get,
    path = "/timeseries",
    operation_id = "get_timeseries",
    tag = "statistics",
    params(Question),
    responses((status = 200, description = "Its values.", body = TimeseriesView), (status = 404))
)]
pub(crate) async fn get(
    State(shared): Ctx,
    Params(question): Params<Question>,
) -> Result<Json<TimeseriesView>> {
    let Question { metric, service, instance, from, to, interval, agg, group_by, top } = question;
    let query = TimeseriesQuery { metric, service, instance, from, to, interval, agg, group_by, top };
    Ok(Json(shared.control.timeseries(query).await?))
}
