//! What surrounds every request: its id, the check of host and origin, the last word on unknown paths and methods, the
//! body of problems, and headers that keep answers out of caches.

use crate::error::{ApiError, render};
use crate::{Transport, origin};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use myagent_core::Code;
use std::panic::AssertUnwindSafe;
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id taken over from a client.
const MAX_REQUEST_ID: usize = 100;

/// What the surroundings depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pub(crate) transport: Transport,
}

/// Puts the surroundings around `routes`, which have a fallback of their own.
pub(crate) fn around(routes: Router, edge: Edge) -> Router {
    routes
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(edge, surround))
}

async fn surround(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let request_id = request_id(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = match admit(edge.transport, &request) {
        Err(refused) => refused.into_response(),
        // A defect in one handler is one failed request, not a cut connection without a word.
        Ok(()) => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                ApiError::new(Code::Internal, "a defect of the manager; its log has more").into_response()
            }
        },
    };
    render(&mut response, &request_id);
    tracing::debug!(%method, path, status = response.status().as_u16(), request_id, "request");
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A page of ours in a frame of somebody else's could be made to click.
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

fn admit(transport: Transport, request: &Request) -> Result<(), ApiError> {
    let Transport::Tcp { address } = transport else { return Ok(()) };
    let text = |name: HeaderName| match request.headers().get(&name) {
        None => Ok(None),
        Some(_) if request.headers().get_all(&name).iter().count() > 1 => {
            Err(ApiError::new(Code::Forbidden, format!("{name} is given twice")))
        }
        Some(value) => value
            .to_str()
            .map(Some)
            .map_err(|_| ApiError::new(Code::Forbidden, format!("{name} is not readable"))),
    };
    let authority = request.uri().authority().map(axum::http::uri::Authority::as_str);
    origin::check(address, text(header::HOST)?, authority, text(header::ORIGIN)?)
        .map_err(|detail| ApiError::new(Code::Forbidden, detail))
}

/// The client's own id, if it is a plain one, so that its logs and ours can be read together.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |id: &&str| {
        !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(plain);
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Nothing is at this path.
pub(crate) async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(Code::NotFound, format!("there is nothing at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        Code::MethodNotAllowed,
        format!("{} does not take {method}; the Allow header lists what it takes", uri.path()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::{get, post};
    use serde_json::Value;

    async fn defect() -> &'static str {
        let numbers: Vec<u8> = Vec::new();
        if numbers.is_empty() { panic!("a defect") } else { "" }
    }

    fn routes() -> Router {
        let listed = get(|| async { "hello" }).post(|| async { "made" });
        let typed = post(|crate::extract::Json(body): crate::extract::Json| async move { body.to_string() });
        Router::new().route("/hello", listed).route("/defect", get(defect)).route("/echo", typed)
    }

    /// Sends one request through the surroundings.
    async fn ask(transport: Transport, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = axum::http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let router = around(routes().fallback(not_found), Edge { transport });
        let service = hyper_util::service::TowerToHyperService::new(router);
        hyper::service::Service::call(&service, request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn problem(response: Response) -> Value {
        assert_eq!(response.headers()[header::CONTENT_TYPE], crate::error::PROBLEM_JSON);
        let id = response.headers()[&REQUEST_ID].to_str().unwrap().to_owned();
        let body = axum::body::to_bytes(response.into_body(), 100_000).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["request_id"], id);
        body
    }

    #[tokio::test]
    async fn unknown_paths_and_methods_and_defects_are_problems_too() {
        let gone = ask(Transport::Unix, "GET", "/nowhere", &[]).await;
        assert_eq!(gone.status(), 404);
        assert_eq!(problem(gone).await["code"], "NOT_FOUND");

        let wrong = ask(Transport::Unix, "DELETE", "/hello", &[]).await;
        assert_eq!(wrong.status(), 405);
        assert_eq!(wrong.headers()[header::ALLOW], "GET,HEAD,POST");
        assert_eq!(problem(wrong).await["code"], "METHOD_NOT_ALLOWED");

        let defect = ask(Transport::Unix, "GET", "/defect", &[]).await;
        assert_eq!(defect.status(), 500);
        assert_eq!(problem(defect).await["code"], "INTERNAL");

        let empty = ask(Transport::Unix, "POST", "/echo", &[]).await;
        assert_eq!(problem(empty).await["errors"][0]["field"], "body");
    }

    #[tokio::test]
    async fn every_answer_has_a_request_id_and_a_plain_one_is_kept() {
        let own = ask(Transport::Unix, "GET", "/hello", &[]).await;
        assert!(own.headers()[&REQUEST_ID].to_str().unwrap().parse::<Uuid>().is_ok());
        assert_eq!(own.headers()[header::CACHE_CONTROL], "no-store");
        let kept = ask(Transport::Unix, "GET", "/hello", &[("x-request-id", "mine-7")]).await;
        assert_eq!(kept.headers()[&REQUEST_ID], "mine-7");
        for strange in ["", "with space", &"x".repeat(101)] {
            let replaced = ask(Transport::Unix, "GET", "/hello", &[("x-request-id", strange)]).await;
            assert_ne!(replaced.headers()[&REQUEST_ID], strange);
        }
    }

    #[tokio::test]
    async fn pages_of_other_sites_are_kept_out_of_tcp_only() {
        let tcp = Transport::Tcp { address: "127.0.0.1:8080".parse().unwrap() };
        let status = async |transport, headers: &[(&str, &str)]| {
            ask(transport, "GET", "/hello", headers).await.status().as_u16()
        };
        let host = ("host", "127.0.0.1:8080");
        assert_eq!(status(tcp, &[host]).await, 200);
        assert_eq!(status(tcp, &[host, ("origin", "http://127.0.0.1:8080")]).await, 200);
        assert_eq!(status(tcp, &[host, ("origin", "http://evil.example")]).await, 403);
        assert_eq!(status(tcp, &[("host", "evil.example:8080")]).await, 403);
        assert_eq!(status(tcp, &[]).await, 403);
        assert_eq!(status(Transport::Unix, &[("origin", "http://evil.example")]).await, 200);
        assert_eq!(problem(ask(tcp, "GET", "/hello", &[]).await).await["code"], "FORBIDDEN");
        let other = ask(tcp, "GET", "/hello", &[host]).await;
        assert!(!other.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    }
}
