//! `GET /metrics`: what the manager knows in numbers, for Prometheus.
//!
//! Nothing is kept for it beside a few counters ([`Requests`] of the API, those of the front door): every scrape reads the
//! state that is there. One table says which metrics there are and how each is read; what is served and the reference page
//! are both made from it. Labels name services, instances, rules and words of ours, never a connection, a session or an
//! address, so that there are at most a few dozen series for each instance.

mod connections;
mod door;
mod encode;
mod instances;
mod manager;
mod negotiate;
mod requests;
mod services;
mod table;

use crate::{Ctx, Shared};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use myagent_core::front_door::FrontDoorStats;
use myagent_core::process::ProcessStats;
use myagent_core::view::{ConnectionStats, FleetView, InfoView, ServiceView};
use negotiate::Format;
use requests::RouteRequests;
use std::sync::Arc;
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use requests::Requests;
pub(crate) use requests::count;
pub use table::{Kind, Metric, all};

pub(crate) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(scrape))
}

/// Everything that a scrape looks at, as it is now.
#[derive(Debug)]
struct Seen {
    services: Vec<Arc<ServiceView>>,
    fleet: FleetView,
    connections: ConnectionStats,
    rules: usize,
    info: InfoView,
    uptime: Duration,
    storage_ok: bool,
    process: Option<ProcessStats>,
    door: FrontDoorStats,
    requests: Vec<RouteRequests>,
}

/// What the manager knows in numbers, for Prometheus.
///
/// With `Accept: application/openmetrics-text` in that format. The metrics are listed in the reference.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "statistics",
    responses((
        status = 200,
        description = "Every metric.",
        content((String = "text/plain", example = json!("myagent_storage_ok 1\n")), (String = "application/openmetrics-text"))
    ))
)]
async fn scrape(State(shared): Ctx, headers: HeaderMap) -> Response {
    let Shared { control, manager, requests, .. } = &*shared;
    let seen = Seen {
        services: control.services(),
        fleet: control.fleet(),
        storage_ok: control.storage_problem().is_none(),
        connections: control.connection_stats(),
        rules: control.routing().borrow().rules().count(),
        info: manager.info(),
        uptime: requests.uptime(),
        process: manager.process(),
        door: manager.front_door(),
        requests: requests.read(),
    };
    respond(seen, &headers)
}

fn respond(seen: Seen, headers: &HeaderMap) -> Response {
    let format =
        Format::wanted(headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()));
    let text = encode::text(seen, format);
    ([(header::CONTENT_TYPE, format.content_type())], text).into_response()
}

#[cfg(test)]
mod tests;
