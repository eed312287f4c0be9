//! `/api/v1/services`: one file per endpoint, listed here.

mod batch;
mod config;
mod connections;
mod create;
mod delete;
mod get;
mod health;
mod instances;
mod list;
mod logs;
mod replace;
mod restart;
mod scale;
mod start;
mod stats;
mod stop;
mod update;

use crate::Shared;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list::get, create::post))
        .routes(routes!(batch::post))
        .routes(routes!(get::get, replace::put, update::patch, delete::delete))
        .routes(routes!(config::put))
        .routes(routes!(start::post))
        .routes(routes!(stop::post))
        .routes(routes!(restart::post))
        .routes(routes!(scale::post))
        .routes(routes!(connections::get))
        .routes(routes!(instances::get))
        .routes(routes!(stats::get))
        .routes(routes!(health::get))
        .routes(routes!(health::check))
        .routes(routes!(health::history))
        .routes(routes!(logs::get))
}

#[cfg(test)]
pub(crate) mod tests {
    use myagent_core::instance::InstanceState;
    use myagent_core::view::ServiceView;
    use serde_json::json;

    /// A stopped service; `number` gives it its id and its age.
    pub(crate) fn view(name: &str, number: u128) -> ServiceView {
        serde_json::from_value(json!({
            "service_id": uuid::Uuid::from_u128(number), "name": name, "description": "",
            "source": {"kind": "file", "path": format!("/a/{name}.py")}, "host": "127.0.0.1", "port": null,
            "endpoint": null, "tags": [], "agent_type": "file", "version": 1, "status": InstanceState::Stopped,
            "desired": "stopped", "replicas": 1, "created_at": jiff::Timestamp::from_second(number as i64).unwrap(),
            "started_at": null, "last_health_check": null, "error_message": null, "restart_count": 0,
            "config": {}, "environment": {}, "secrets": [], "health": "unknown", "instances": [],
            "stats": {
                "active_connections": 0, "active_sessions": 0, "connections": 0, "sessions": 0, "messages_in": 0,
                "messages_out": 0, "bytes_in": 0, "bytes_out": 0, "log_lines_dropped": 0
            },
        }))
        .unwrap()
    }
}
