//! `GET /api/v1/stats/metrics`: what `timeseries` can be asked for.

use axum::response::Json;
use myagent_core::series::{Aggregate, Kind, METRICS};
use myagent_core::view::Page;
use serde::Serialize;
use utoipa::ToSchema;

/// Something that is measured.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MetricView {
    /// What it is called.
    name: &'static str,
    /// How it behaves.
    kind: Kind,
    /// Of one of its values; a `rate` is this per second.
    unit: &'static str,
    /// What it is.
    meaning: &'static str,
    /// Kept for each instance; else for each service.
    per_instance: bool,
    /// How its values can become one.
    aggregates: Vec<Aggregate>,
}

/// Lists what is measured over time.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "list_metrics",
    tag = "statistics",
    responses((status = 200, description = "All of it.", body = Page<MetricView>))
)]
pub(crate) async fn get() -> Json<Page<MetricView>> {
    let views = METRICS.iter().map(|metric| MetricView {
        name: metric.name,
        kind: metric.kind,
        unit: metric.unit,
        meaning: metric.meaning,
        per_instance: metric.per_instance,
        aggregates: Aggregate::ALL.into_iter().filter(|agg| agg.suits(metric.kind)).collect(),
    });
    let views: Vec<MetricView> = views.collect();
    let count = views.len();
    Json(Page::cut(views, count, 0))
}
