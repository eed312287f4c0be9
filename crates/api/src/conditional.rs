//! Requests that depend on what was before them: `If-Match` (not if somebody else changed it since) and `Idempotency-Key` (not
//! twice).

use crate::error::ApiError;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use myagent_control::{Made, Once};
use serde::Serialize;
use serde_json::Value;
use sha1_smol::Sha1;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key, bytes.
pub(crate) const MAX_KEY: usize = 255;

/// The version that the asker has seen, from `If-Match`; none: any will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IfMatch(pub(crate) Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(given) = one(&parts.headers, &header::IF_MATCH)? else { return Ok(Self(None)) };
        if given == "*" {
            return Ok(Self(None));
        }
        let digits = given.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        // As it is written in an answer: 02 and +2 are other tags.
        let version = digits
            .and_then(|digits| digits.parse::<u64>().ok().filter(|version| version.to_string() == digits));
        match version {
            Some(version) => Ok(Self(Some(version))),
            None => Err(ApiError::field(
                "If-Match",
                "must be the ETag of an answer, like \"3\" with its quotes, or *",
            )),
        }
    }
}

/// The asker's name for a creation, from `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(key) = one(&parts.headers, &IDEMPOTENCY_KEY)? else { return Ok(Self(None)) };
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("must be 1 to {MAX_KEY} visible ASCII characters, for example a UUID");
            return Err(ApiError::field("Idempotency-Key", message));
        }
        Ok(Self(Some(key.to_owned())))
    }
}

impl IdempotencyKey {
    /// With what is asked for. `what` tells kinds of creations apart. Secrets count by name only: a hash of one could be
    /// guessed at.
    pub(crate) fn of(self, what: &str, body: &Value) -> Option<Once> {
        let key = self.0?;
        let mut body = body.clone();
        if let Some(secrets) = body.get_mut("secrets").and_then(Value::as_object_mut) {
            secrets.values_mut().for_each(|value| *value = Value::Null);
        }
        let fingerprint = Sha1::from(format!("{what} {body}")).digest().to_string();
        Some(Once { key: format!("{what} {key}"), fingerprint })
    }
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let mut all = headers.get_all(name).iter();
    let value = match (all.next(), all.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().ok(),
        (Some(_), Some(_)) => None,
    };
    value.map(Some).ok_or_else(|| ApiError::field(name.as_str(), "must be given once, in ASCII"))
}

/// What was made, with its address and version; an earlier one says so.
pub(crate) fn created(view: impl Serialize, made: Made, location: String, version: u64) -> Response {
    let replayed = (made == Made::Before).then_some([(REPLAYED, HeaderValue::from_static("true"))]);
    (
        StatusCode::CREATED,
        replayed.map(axum::response::AppendHeaders),
        [(header::LOCATION, location)],
        versioned(view, version),
    )
        .into_response()
}

/// An answer that has a version, for `If-Match`.
pub(crate) fn versioned(view: impl Serialize, version: u64) -> Response {
    ([(header::ETAG, format!("\"{version}\""))], Json(view)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use serde_json::json;

    fn parts(name: &str, values: &[&str]) -> Parts {
        let mut request = Request::builder();
        for value in values {
            request = request.header(name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[tokio::test]
    async fn a_version_is_that_of_an_answer() {
        let read = async |values: &[&str]| {
            IfMatch::from_request_parts(&mut parts("if-match", values), &())
                .await
                .map(|version| version.0)
                .ok()
        };
        assert_eq!(read(&[]).await, Some(None));
        assert_eq!(read(&["*"]).await, Some(None));
        assert_eq!(read(&["\"17\""]).await, Some(Some(17)));
        for bad in ["17", "\"017\"", "\"+17\"", "\"x\"", "\"1\", \"2\"", "W/\"1\"", "\"", ""] {
            assert_eq!(read(&[bad]).await, None, "{bad}");
        }
        assert_eq!(read(&["\"1\"", "\"1\""]).await, None);
    }

    #[tokio::test]
    async fn a_key_goes_with_what_is_asked_for_but_not_with_the_values_of_secrets() {
        let read = async |value: &str| {
            IdempotencyKey::from_request_parts(&mut parts("idempotency-key", &[value]), &()).await.ok()
        };
        let key = read("k-1").await.unwrap();
        let once = |body| key.clone().of("service", &body).unwrap();
        assert_eq!(once(json!({"name": "a"})), once(json!({"name": "a"})));
        assert_ne!(once(json!({"name": "a"})).fingerprint, once(json!({"name": "b"})).fingerprint);
        assert_eq!(once(json!({"secrets": {"K": "one"}})), once(json!({"secrets": {"K": "two"}})));
        assert_ne!(key.clone().of("rule", &json!({})).unwrap().key, once(json!({})).key);
        for bad in ["", "two words", &"x".repeat(MAX_KEY + 1)] {
            assert_eq!(read(bad).await, None, "{bad}");
        }
    }
}
