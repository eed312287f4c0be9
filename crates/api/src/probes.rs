//! `/health`, `/livez`, `/readyz`: for whoever watches the manager itself.

use crate::{Ctx, Shared};
use axum::extract::State;
use axum::response::Json;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready)).routes(routes!(health))
}

/// Says that the process answers.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "live",
    tag = "manager",
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain", example = json!("ok\n")))
)]
async fn live() -> &'static str {
    "ok\n"
}

/// Says that the manager works.
///
/// A listener is opened when the control plane runs or is about to, and requests wait for it: whoever gets an answer gets `ok`.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "manager",
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain", example = json!("ok\n")))
)]
async fn ready() -> &'static str {
    "ok\n"
}

/// The manager and its fleet in a few words.
#[derive(Debug, Serialize, ToSchema)]
struct HealthOfManager {
    /// `ok`, or `degraded` if the manager itself has a problem; that services are ill is none.
    status: &'static str,
    /// What is wrong with the manager.
    problems: Vec<String>,
    /// Version of the program.
    version: String,
    /// When the manager started.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// Services by state, and in `total`.
    services: BTreeMap<String, u32>,
    /// Open connections.
    active_connections: u32,
}

/// Tells of the fleet in a few words; 200 even if services are ill, since the manager is not.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "health",
    tag = "manager",
    responses((status = 200, description = "The manager answers.", body = HealthOfManager))
)]
async fn health(State(shared): Ctx) -> Json<HealthOfManager> {
    let (info, fleet) = (shared.manager.info(), shared.control.fleet());
    let problems: Vec<String> = shared.control.storage_problem().into_iter().collect();
    Json(HealthOfManager {
        status: if problems.is_empty() { "ok" } else { "degraded" },
        problems,
        version: info.version,
        started_at: info.started_at,
        services: fleet.services,
        active_connections: fleet.active_connections,
    })
}
