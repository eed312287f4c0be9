//! From a [`Problem`] to an answer. The status is [`Code::status`]; the body is written at the edge, which knows the
//! request's id.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use myagent_core::{Code, FieldError, Problem};
use serde_json::{Map, Value, json};

/// Media type of problems.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// A problem on its way to the client.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Problem);

/// What a handler returns.
pub(crate) type Result<T> = std::result::Result<T, ApiError>;

impl ApiError {
    /// A problem without field errors.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Problem::new(code, detail))
    }

    /// One field at fault.
    pub(crate) fn field(field: &str, message: impl Into<String>) -> Self {
        Self(Problem::fields(vec![FieldError::new(field, message)]))
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<Vec<FieldError>> for ApiError {
    fn from(errors: Vec<FieldError>) -> Self {
        Self(Problem::fields(errors))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status(self.0.code);
        response.extensions_mut().insert(self.0);
        response
    }
}

fn status(code: Code) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Writes the body of an RFC 9457 problem into a response made by [`ApiError`]; leaves every other one alone.
pub(crate) fn render(response: &mut Response, request_id: &str) {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return };
    if problem.code.status() >= 500 {
        tracing::warn!(request_id, code = %problem.code, detail = problem.detail, "request failed");
    }
    let status = response.status();
    let mut body = Map::new();
    body.insert("type".to_owned(), json!(format!("/docs/errors/{}", problem.code)));
    body.insert("title".to_owned(), json!(status.canonical_reason().unwrap_or("Error")));
    body.insert("status".to_owned(), json!(status.as_u16()));
    body.insert("code".to_owned(), json!(problem.code));
    body.insert("detail".to_owned(), json!(problem.detail));
    body.insert("request_id".to_owned(), json!(request_id));
    if !problem.errors.is_empty() {
        body.insert("errors".to_owned(), json!(problem.errors));
    }
    *response.body_mut() = Body::from(Value::Object(body).to_string());
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if matches!(problem.code, Code::ShuttingDown | Code::InsufficientResources | Code::StorageFailed) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_problem_has_everything_that_rfc_9457_and_the_design_name() {
        let mut response = ApiError::field("port", "must be from 1 to 65535").into_response();
        render(&mut response, "r-1");
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let expected = json!({
            "type": "/docs/errors/INVALID_REQUEST", "title": "Bad Request", "status": 400, "code": "INVALID_REQUEST",
            "detail": "port: must be from 1 to 65535", "request_id": "r-1",
            "errors": [{"field": "port", "message": "must be from 1 to 65535"}],
        });
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn other_answers_are_left_alone_and_a_busy_manager_says_when_to_come_back() {
        let mut plain = "hello".into_response();
        render(&mut plain, "r");
        assert_eq!(plain.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        let mut ending = ApiError::new(Code::ShuttingDown, "ending").into_response();
        render(&mut ending, "r");
        assert_eq!(
            (ending.status().as_u16(), &ending.headers()[header::RETRY_AFTER]),
            (503, &"5".parse().unwrap())
        );
    }
}
