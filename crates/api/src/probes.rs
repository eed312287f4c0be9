//! `/health`, `/livez`, `/readyz`: for whoever watches the manager itself.

use crate::{Ctx, Shared};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/livez", get(live)).route("/readyz", get(ready)).route("/health", get(health))
}

/// The process answers.
async fn live() -> &'static str {
    "ok\n"
}

/// A listener is opened when the control plane runs or is about to, and requests wait for it: whoever gets an answer gets "ready".
async fn ready() -> &'static str {
    "ok\n"
}

/// The fleet in a few words; 200 even if services are ill, since the manager is not.
async fn health(State(shared): Ctx) -> Response {
    let (info, fleet) = (shared.manager.info(), shared.control.fleet());
    Json(json!({
        "status": "ok",
        "version": info.version,
        "started_at": info.started_at,
        "services": fleet.services,
        "active_connections": fleet.active_connections,
    }))
    .into_response()
}
