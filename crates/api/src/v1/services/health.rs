//! `GET …/health`: the health of a service and its instances. `POST …/health/check`: checks now. `GET …/health/history`:
//! past checks, newest first.

use crate::Ctx;
use crate::error::Result;
use crate::extract::{Name, Params};
use crate::paging;
use axum::extract::State;
use axum::response::Json;
use jiff::Timestamp;
use myagent_control::HealthRecord;
use myagent_core::health::Health;
use myagent_core::instance::InstanceState;
use myagent_core::view::{Page, ServiceView};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthAnswer {
    name: String,
    status: InstanceState,
    health: Health,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_health_check: Option<Timestamp>,
    error_message: Option<String>,
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
}

impl From<&ServiceView> for HealthAnswer {
    fn from(view: &ServiceView) -> Self {
        let instances = view.instances.iter().map(|instance| InstanceHealth {
            name: instance.name.clone(),
            status: instance.status,
            health: instance.health,
            last_health_check: instance.last_health_check,
            busy: instance.busy,
            error_message: instance.error_message.clone(),
        });
        Self {
            name: view.name.clone(),
            status: view.status,
            health: view.health,
            last_health_check: view.last_health_check,
            error_message: view.error_message.clone(),
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
    Ok(Json(HealthAnswer::from(&*view)))
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
    limit: Option<u32>,
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
    let limit = paging::limit(query.limit, paging::DEFAULT_LIMIT, paging::MAX_LIMIT)?;
    let records = shared.control.health_history(&name, limit).await?;
    Ok(Json(Page::cut(records, limit, 0)))
}
