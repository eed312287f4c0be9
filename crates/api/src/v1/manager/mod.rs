//! `/api/v1/manager/*`: the process itself. Only on the manager's own socket.

pub(crate) mod listeners;
mod log_level;
mod shutdown;
mod upgrade;

use crate::Shared;
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/shutdown", post(shutdown::post))
        .route("/upgrade", post(upgrade::post))
        .route("/listeners", post(listeners::post))
        .route("/log-level", get(log_level::get).put(log_level::put))
}
