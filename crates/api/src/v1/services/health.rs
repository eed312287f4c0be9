//! `GET …/health`: the health of a service and its instances. `POST …/health/check`: checks now. `GET …/health/history`:
//! past checks, newest first.

use crate::Ctx;
use crate::error::Result;
use crate::extract::{Name, Params};
use crate::paging;
use axum::extract::State;
use axum::response::Json;
use jiff::Timestamp;
use myagent_core::health::HealthRecord;
use myagent_core::health::{Health, HealthSummary};
use myagent_core::instance::InstanceState;
use myagent_core::view::{Page, ServiceView};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Checks of a service that are kept.
const HISTORY: usize = 1000;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthAnswer {
    name: String,
    status: InstanceState,
    health: Health,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_health_check: Option<Timestamp>,
    error_message: Option<String>,
    /// Of the checks that are kept.
    summary: HealthSummary,
    instances: Vec<InstanceHealth>,
}

#[derive(Debug, Serialize, ToSchema)]
struct InstanceHealth {
    name: String,
    status: InstanceState,
    health: Health,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_health_check: Option<Timestamp>,
    busy: bool,
    error_message: Option<String>,
    summary: HealthSummary,
}

impl HealthAnswer {
    fn new(view: &ServiceView, checks: &[HealthRecord]) -> Self {
        let summary = |name: Option<&str>| {
            let wanted = checks.iter().filter(|check| name.is_none_or(|name| check.instance == name));
            HealthSummary::of(wanted.map(|check| (check.healthy, check.latency_ms)))
        };
        let instances = view.instances.iter().map(|instance| InstanceHealth {
            name: instance.name.clone(),
            status: instance.status,
            health: instance.health,
            last_health_check: instance.last_health_check,
            busy: instance.busy,
            error_message: instance.error_message.clone(),
            summary: summary(Some(&instance.name)),
        });
        Self {
            name: view.name.clone(),
            status: view.status,
            health: view.health,
            last_health_check: view.last_health_check,
            error_message: view.error_message.clone(),
            summary: summary(None),
            instances: instances.collect(),
        }
    }
}

/// Shows the health of a service and its instances.
#[utoipa::path(
    get,
    path = "/{service}/health",
    operation_id = "get_service_health",
    tag = "health",
    params(("service" = String, Path, description = "Name or id.")),
    responses((status = 200, description = "Its health.", body = HealthAnswer))
)]
pub(crate) async fn get(State(shared): Ctx, Name(name): Name) -> Result<Json<HealthAnswer>> {
    let view = shared.control.service(&name)?;
    let checks = shared.control.health_history(&view.name, HISTORY).await?;
    Ok(Json(HealthAnswer::new(&view, &checks)))
}

/// Checks health now.
#[utoipa::path(
    post,
    path = "/{service}/health/check",
    operation_id = "check_service_health",
    tag = "health",
    params(("service" = String, Path, description = "Name or id.")),
    responses((status = 200, description = "What was found for each instance.", body = Page<HealthRecord>), (status = 409))
)]
pub(crate) async fn check(State(shared): Ctx, Name(name): Name) -> Result<Json<Page<HealthRecord>>> {
    let name = shared.control.service(&name)?.name.clone();
    let records = shared.control.check_health(&name).await?;
    let count = records.len();
    Ok(Json(Page::cut(records, count, 0)))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Most records, at most 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    #[serde(deserialize_with = "paging::up_to::<_, 1000>")]
    limit: Option<u32>,
    /// Only those of this instance: `weather-0`.
    instance: Option<String>,
    /// Only those that succeeded, or only those that did not.
    healthy: Option<bool>,
}

/// Lists past health checks, the newest first.
#[utoipa::path(
    get,
    path = "/{service}/health/history",
    operation_id = "list_health_checks",
    tag = "health",
    params(("service" = String, Path, description = "Name or id."), HistoryQuery),
    responses((status = 200, description = "Past checks.", body = Page<HealthRecord>))
)]
pub(crate) async fn history(
    State(shared): Ctx,
    Name(name): Name,
    Params(query): Params<HistoryQuery>,
) -> Result<Json<Page<HealthRecord>>> {
    let name = shared.control.service(&name)?.name.clone();
    let limit = query.limit.unwrap_or(paging::DEFAULT_LIMIT) as usize;
    let mut records = shared.control.health_history(&name, HISTORY).await?;
    records.retain(|record| {
        query.instance.as_ref().is_none_or(|instance| record.instance == *instance)
            && query.healthy.is_none_or(|healthy| record.healthy == healthy)
    });
    Ok(Json(Page::cut(records, limit, 0)))
}
