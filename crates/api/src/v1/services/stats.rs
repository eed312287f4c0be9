//! `GET /api/v1/services/{name or id}/stats`: its numbers alone: now, since registration, and within the last minute.

use crate::Ctx;
use crate::error::Result;
use crate::extract::Name;
use axum::extract::State;
use axum::response::Json;
use jiff::Timestamp;
use myagent_core::overview::usage;
use myagent_core::recent::{Recent, Shares};
use myagent_core::view::ServiceStats;
use serde::Serialize;
use utoipa::ToSchema;

/// A service in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatsAnswer {
    #[serde(flatten)]
    stats: ServiceStats,
    /// The last minute.
    recent: Recent,
    /// Shares and means.
    #[serde(flatten)]
    shares: Shares,
    /// Restarts of its instances.
    restarts: u32,
    /// Of its process trees, percent of one core.
    cpu_percent: f64,
    /// Of its process trees, MiB.
    memory_mb: f64,
    /// When its longest running instance was started.
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
}

/// Shows the numbers of a service.
#[utoipa::path(
    get,
    path = "/{service}/stats",
    operation_id = "get_service_stats",
    tag = "statistics",
    params(("service" = String, Path, description = "Name or id.")),
    responses((status = 200, description = "Its numbers.", body = StatsAnswer))
)]
pub(crate) async fn get(State(shared): Ctx, Name(name): Name) -> Result<Json<StatsAnswer>> {
    let view = shared.control.service(&name)?;
    let recent = shared.control.recent(Some(&view.name)).await?;
    let (cpu_percent, memory_mb) = usage(&view.instances);
    Ok(Json(StatsAnswer {
        stats: view.stats.clone(),
        recent,
        shares: view.stats.session_totals.as_deref().map(Shares::of).unwrap_or_default(),
        restarts: view.restart_count,
        cpu_percent,
        memory_mb,
        started_at: view.started_at,
    }))
}
