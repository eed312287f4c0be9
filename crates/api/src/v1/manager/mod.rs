//! `/api/v1/manager/*`: the process itself. Only on the manager's own socket.

pub(crate) mod listeners;
mod shutdown;
mod upgrade;

use crate::Shared;
use axum::Router;
use axum::routing::post;
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/shutdown", post(shutdown::post))
        .route("/upgrade", post(upgrade::post))
        .route("/listeners", post(listeners::post))
}
