//! `GET …/health`: the health of a service and its instances. `POST …/health/check`: checks now. `GET …/health/history`:
//! past checks, newest first.

use crate::Ctx;
use crate::error::Result;
use crate::extract::{Name, Params};
use axum::extract::State;
use axum::response::Json;
use jiff::Timestamp;
use myagent_control::HealthRecord;
use myagent_core::health::Health;
use myagent_core::instance::InstanceState;
use myagent_core::view::{Page, ServiceView};
use serde::{Deserialize, Serialize};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

#[derive(Debug, Serialize)]
pub(crate) struct HealthAnswer {
    name: String,
    status: InstanceState,
    health: Health,
    last_health_check: Option<Timestamp>,
    error_message: Option<String>,
    instances: Vec<InstanceHealth>,
}

#[derive(Debug, Serialize)]
struct InstanceHealth {
    name: String,
    status: InstanceState,
    health: Health,
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

pub(crate) async fn get(State(shared): Ctx, Name(name): Name) -> Result<Json<HealthAnswer>> {
    let view = shared.control.service(&name)?;
    Ok(Json(HealthAnswer::from(&*view)))
}

pub(crate) async fn check(State(shared): Ctx, Name(name): Name) -> Result<Json<Page<HealthRecord>>> {
    let name = shared.control.service(&name)?.name.clone();
    let records = shared.control.check_health(&name).await?;
    let count = records.len();
    Ok(Json(Page::cut(records, count, 0)))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HistoryQuery {
    limit: Option<usize>,
}

pub(crate) async fn history(
    State(shared): Ctx,
    Name(name): Name,
    Params(query): Params<HistoryQuery>,
) -> Result<Json<Page<HealthRecord>>> {
    let name = shared.control.service(&name)?.name.clone();
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let records = shared.control.health_history(&name, limit).await?;
    Ok(Json(Page::cut(records, limit, 0)))
}
