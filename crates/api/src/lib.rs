//! The HTTP API: paths, queries and bodies in; views and problems out.
//!
//! It owns how things look on the wire (`/api/v1`, RFC 9457 problems, server-sent events) and who may ask (loopback hosts
//! and same origin on TCP). It decides nothing about services: every handler reads its request, calls one method of
//! [`myagent_control::Handle`] or of the [`Manager`], and writes the answer.
//!
//! Where to go: one endpoint per file below [`v1`]; what surrounds every request is in `edge`; the web console in `console`;
//! reading requests in `extract`; the document in [`document`]; the numbers in [`metrics`]; the accept loops in [`serve`].

mod conditional;
mod console;
mod document;
mod edge;
mod error;
mod extract;
mod fragments;
mod manager;
pub mod metrics;
mod origin;
mod paging;
mod probes;
pub mod serve;
mod sse;
mod v1;

pub use axum::Router;
pub use document::openapi_json;
pub use manager::{Manager, OpenListener};

use axum::middleware;
use edge::Edge;
use fragments::Fragments;
use myagent_control::Handle;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;

/// Where requests come from; decides what is offered and what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The manager's own socket: the command line. Everything is offered but the web console.
    Unix,
    /// A TCP listener: browsers may be behind it, so `Host` and `Origin` are checked, and `manager/*` is not offered.
    Tcp {
        /// The address that it listens on.
        address: SocketAddr,
    },
}

/// What the handlers work with.
#[derive(Clone)]
pub struct ApiState {
    /// The control plane.
    pub control: Handle,
    /// The process around it.
    pub manager: Arc<dyn Manager>,
    /// Counts the requests of all routers.
    pub requests: Arc<metrics::Requests>,
    /// Where the requests of this router come from.
    pub transport: Transport,
}

/// [`ApiState`] and what belongs to one router.
struct Shared {
    control: Handle,
    manager: Arc<dyn Manager>,
    requests: Arc<metrics::Requests>,
    /// For the audit log: who asks through this transport.
    who: &'static str,
    fragments: Fragments,
    /// Commands whose caller does not wait (`?wait=false`).
    background: TaskTracker,
}

type Ctx = axum::extract::State<Arc<Shared>>;

/// The endpoints that every transport offers, with their document.
fn public_routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(document::base())
        .merge(probes::routes())
        .merge(metrics::routes())
        .nest("/api/v1", v1::routes())
}

/// All endpoints of one transport.
pub fn router(state: ApiState) -> Router {
    let ApiState { control, manager, requests, transport } = state;
    let counting = middleware::from_fn_with_state(Arc::clone(&requests), metrics::count);
    let who = match transport {
        Transport::Unix => "cli",
        Transport::Tcp { .. } => "api",
    };
    let shared = Arc::new(Shared {
        control,
        manager,
        requests,
        who,
        fragments: Fragments::default(),
        background: TaskTracker::new(),
    });
    let mut routes = Router::from(public_routes()).merge(document::routes());
    routes = match transport {
        Transport::Unix => routes.nest("/api/v1/manager", v1::manager::routes()).fallback(edge::not_found),
        Transport::Tcp { .. } => routes.fallback(console::serve),
    };
    edge::around(routes.with_state(shared), Edge { transport }).layer(counting)
}
