//! Requests of the API, by route, method and class of status, and how long they took. The label is the template of the route
//! (`/api/v1/services/{name}`), never a path, so that clients cannot make up series.

use super::table::{Kind, Metric, Sample};
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use myagent_core::spread::{SharedSpread, Spread};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Bounds of times, microseconds.
const BOUNDS: [u64; 7] = [1_000, 5_000, 25_000, 100_000, 500_000, 2_500_000, 10_000_000];
/// In place of a route that is none.
const UNMATCHED: &str = "(unmatched)";
/// In place of a method that no route takes.
const OTHER: &str = "(other)";

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "myagent_api_requests_total",
        kind: Kind::Counter,
        labels: &["route", "method", "code"],
        help: "Requests of the management API by the class of their answer, such as 2xx. What has no route is (unmatched).",
        read: |seen| {
            let samples = seen.requests.iter().flat_map(|of| {
                let one =
                    |(key, count): &(Key, u64)| Sample::new([&*of.route, key.method, key.class], *count);
                of.counts.iter().map(one)
            });
            samples.collect()
        },
    },
    Metric {
        name: "myagent_api_request_duration_seconds",
        kind: Kind::Histogram,
        labels: &["route"],
        help: "From a request's head to the head of its answer; an answer that goes on (events, logs) is not waited for.",
        read: |seen| seen.requests.iter().map(|of| Sample::new([&*of.route], &of.took)).collect(),
    },
];

/// What is told apart within a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    method: &'static str,
    class: &'static str,
}

/// The requests of one route, as they were.
#[derive(Debug)]
pub(super) struct RouteRequests {
    route: String,
    counts: Vec<(Key, u64)>,
    took: Spread,
}

/// Counts the requests of all transports. Made once, when the manager starts.
#[derive(Debug)]
pub struct Requests {
    started: Instant,
    /// As many as there are routes, at most.
    routes: Mutex<BTreeMap<String, Counts>>,
}

#[derive(Debug)]
struct Counts {
    counts: BTreeMap<Key, u64>,
    took: SharedSpread<{ BOUNDS.len() }>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { started: Instant::now(), routes: Mutex::default() }
    }
}

impl Requests {
    /// How long it has been counting.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn add(&self, route: Option<&str>, method: &Method, status: u16, took: Duration) {
        let route = route.unwrap_or(UNMATCHED);
        let key = Key { method: word(method), class: class(status) };
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked up first, so that the name is copied once.
        if !routes.contains_key(route) {
            let new = Counts { counts: BTreeMap::new(), took: SharedSpread::new(&BOUNDS) };
            routes.insert(route.to_owned(), new);
        }
        if let Some(of) = routes.get_mut(route) {
            *of.counts.entry(key).or_default() += 1;
            of.took.record(took);
        }
    }

    pub(super) fn read(&self) -> Vec<RouteRequests> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |(route, of): (&String, &Counts)| RouteRequests {
            route: route.clone(),
            counts: of.counts.iter().map(|(key, count)| (*key, *count)).collect(),
            took: of.took.read(),
        };
        routes.iter().map(read).collect()
    }
}

/// Around everything: counts a request when its answer has begun.
pub(crate) async fn count(State(requests): State<Arc<Requests>>, request: Request, next: Next) -> Response {
    let (method, since) = (request.method().clone(), Instant::now());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map(MatchedPath::as_str);
    requests.add(route, &method, response.status().as_u16(), since.elapsed());
    response
}

fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}

fn class(status: u16) -> &'static str {
    match status {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_method_and_class() {
        let requests = Requests::default();
        let took = Duration::from_millis(3);
        requests.add(Some("/a/{name}"), &Method::GET, 200, took);
        requests.add(Some("/a/{name}"), &Method::GET, 204, took);
        requests.add(Some("/a/{name}"), &Method::DELETE, 404, took);
        requests.add(None, &Method::from_bytes(b"MAKEUP").unwrap(), 404, took);
        let read: Vec<_> =
            requests.read().into_iter().map(|of| (of.route, of.counts, of.took.count())).collect();
        let key = |method, class| Key { method, class };
        let expected = [
            (UNMATCHED.to_owned(), vec![(key(OTHER, "4xx"), 1)], 1),
            ("/a/{name}".to_owned(), vec![(key("DELETE", "4xx"), 1), (key("GET", "2xx"), 2)], 3),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_clients_make_up_makes_no_series() {
        let requests = Requests::default();
        for number in 0..1_000_u16 {
            let method = Method::from_bytes(format!("M{number}").as_bytes()).unwrap();
            requests.add(None, &method, number, Duration::ZERO);
        }
        let read = requests.read();
        assert_eq!((read.len(), read[0].counts.len()), (1, 5));
    }
}
