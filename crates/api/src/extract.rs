//! Reading requests: bodies, queries and names, each with a problem that names what is wrong.

use crate::error::ApiError;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use myagent_core::{Code, FieldError};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// Largest request body, bytes.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// How long the whole body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A JSON body; one that is missing is a problem.
#[derive(Debug)]
pub(crate) struct Json(pub(crate) Value);

impl<S: Send + Sync> FromRequest<S> for Json {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match OptionalJson::from_request(request, state).await?.0 {
            Some(value) => Ok(Self(value)),
            None => Err(ApiError::field("body", "is empty; send a JSON object")),
        }
    }
}

/// A JSON body, if there is one.
#[derive(Debug)]
pub(crate) struct OptionalJson(pub(crate) Option<Value>);

impl<S: Send + Sync> FromRequest<S> for OptionalJson {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let typed = check_type(request.headers());
        let body = read(request).await?;
        if body.is_empty() {
            return Ok(Self(None));
        }
        typed?;
        let value = serde_json::from_slice(&body)
            .map_err(|error| ApiError::field("body", format!("is not JSON: {error}")))?;
        Ok(Self(Some(value)))
    }
}

/// `curl -d` sends JSON as form data or with no type. A web page can do that too, without asking us first; but then the
/// browser adds an `Origin`.
fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("unreadable"));
    let essence = given.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    match essence.as_deref() {
        Some("application/json") => Ok(()),
        Some(essence) if essence.starts_with("application/") && essence.ends_with("+json") => Ok(()),
        None | Some("application/x-www-form-urlencoded") if !headers.contains_key(header::ORIGIN) => Ok(()),
        _ => Err(ApiError::new(
            Code::UnsupportedMediaType,
            "the body must be JSON; send it with Content-Type: application/json",
        )),
    }
}

async fn read(request: Request) -> Result<Bytes, ApiError> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    let Ok(body) = tokio::time::timeout(BODY_TIMEOUT, body).await else {
        let detail = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
        return Err(ApiError::new(Code::RequestTimeout, detail));
    };
    match body {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if is_too_large(&*error) => {
            Err(ApiError::new(Code::PayloadTooLarge, format!("the body is larger than {MAX_BODY} bytes")))
        }
        Err(error) => Err(ApiError::field("body", format!("could not be read: {error}"))),
    }
}

fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(<dyn std::error::Error>::is::<LengthLimitError>)
}

/// Reads one value out of a body; every field at fault is named.
pub(crate) fn parse<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    // Serde would read a list as the fields in their order.
    if !value.is_object() {
        return Err(ApiError::field("body", "must be a JSON object"));
    }
    let error = match serde_json::from_value(value.clone()) {
        Ok(read) => return Ok(read),
        Err(error) => error.to_string(),
    };
    // Each field on its own: what is missing then is not the fault of the field.
    let alone = |(name, value): (String, Value)| {
        let error = serde_json::from_value::<T>(Value::Object([(name.clone(), value)].into_iter().collect()))
            .err()?;
        is_about_field(&error.to_string()).then(|| FieldError::new(name, error.to_string()))
    };
    let Value::Object(mut fields) = value else { return Err(ApiError::field("body", error)) };
    let mut errors: Vec<FieldError> = fields.clone().into_iter().filter_map(alone).collect();
    // What is missing is only told once the rest can be read.
    let at_fault = |name: &str| errors.iter().any(|error| error.field == name);
    fields.retain(|name, _| !at_fault(name));
    let rest = serde_json::from_value::<T>(Value::Object(fields)).err().map(|error| error.to_string());
    let missing = rest.as_deref().and_then(|rest| rest.strip_prefix("missing field `")?.split('`').next());
    match missing.filter(|name| !at_fault(name)) {
        Some(name) => errors.push(FieldError::new(name, "is missing")),
        None if errors.is_empty() => errors.push(FieldError::new("body", error)),
        None => {}
    }
    Err(ApiError::from(errors))
}

fn is_about_field(error: &str) -> bool {
    !error.starts_with("missing field")
}

/// The query of a request; unknown names are refused by the type's own `deny_unknown_fields`.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::from(query_errors::<T>(parts, &rejection.body_text()))),
        }
    }
}

/// Every parameter at fault: each is read on its own. `text` is what is wrong with the whole.
fn query_errors<T: DeserializeOwned>(parts: &Parts, text: &str) -> Vec<FieldError> {
    let message = |text: &str| {
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
        // `limit: invalid digit` has the name in front.
        text.split_once(": ").map_or_else(|| text.to_owned(), |(_, message)| message.to_owned())
    };
    let query = parts.uri.query().unwrap_or_default();
    let alone = |pair: &str| {
        let uri = Uri::builder().path_and_query(format!("/?{pair}")).build().ok()?;
        let text = Query::<T>::try_from_uri(&uri).err()?.body_text();
        if !is_about_field(&message(&text)) {
            return None;
        }
        let pairs: Vec<(String, String)> =
            Query::try_from_uri(&uri).map(|Query(pairs)| pairs).unwrap_or_default();
        let name = pairs.into_iter().next().map_or_else(|| "query".to_owned(), |(name, _)| name);
        Some(FieldError::new(name, message(&text)))
    };
    let errors: Vec<FieldError> =
        query.split('&').filter(|pair| !pair.is_empty()).filter_map(alone).collect();
    let text = message(text);
    let missing = text.split_once("missing field `").and_then(|(_, rest)| rest.split('`').next());
    match missing {
        Some(name) => errors.into_iter().chain([FieldError::new(name, "is missing")]).collect(),
        None if errors.is_empty() => vec![FieldError::new("query", text)],
        None => errors,
    }
}

/// The name or id of a service in the path.
#[derive(Debug)]
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(rejection) => Err(ApiError::field("path", rejection.body_text())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    async fn read_json(headers: &[(&str, &str)], body: impl Into<Body>) -> Result<Option<Value>, Code> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        OptionalJson::from_request(request, &()).await.map(|json| json.0).map_err(|error| error.0.code)
    }

    #[tokio::test]
    async fn json_comes_with_any_type_that_a_page_could_not_have_sent() {
        let one = Ok(Some(Value::from(1)));
        let typed = |value| [("content-type", value)];
        let origin = ("origin", "http://localhost");
        assert_eq!(read_json(&[], "1").await, one);
        assert_eq!(read_json(&typed("application/json; charset=utf-8"), "1").await, one);
        assert_eq!(read_json(&typed("application/merge-patch+json"), "1").await, one);
        assert_eq!(read_json(&typed("application/x-www-form-urlencoded"), "1").await, one);
        assert_eq!(read_json(&[typed("Application/JSON")[0], origin], "1").await, one);
        for headers in [
            vec![origin],
            vec![typed("application/x-www-form-urlencoded")[0], origin],
            vec![typed("text/plain")[0]],
            vec![typed("multipart/form-data; boundary=x")[0]],
        ] {
            assert_eq!(read_json(&headers, "1").await, Err(Code::UnsupportedMediaType), "{headers:?}");
        }
        assert_eq!(read_json(&typed("text/plain"), "").await, Ok(None));
    }

    #[tokio::test]
    async fn a_query_at_fault_names_the_field() {
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Query {
            limit: usize,
        }
        let read = async |uri: &str| {
            let (mut parts, ()) = Request::builder().uri(uri).body(()).unwrap().into_parts();
            match Params::<Query>::from_request_parts(&mut parts, &()).await {
                Ok(Params(query)) => query.limit.to_string(),
                Err(error) => error.0.detail,
            }
        };
        assert_eq!(read("/?limit=5").await, "5");
        assert_eq!(read("/?limit=x").await, "limit: invalid digit found in string");
        assert_eq!(read("/?colour=x").await, "colour: unknown field `colour`, expected `limit`");
        let both = "limit: invalid digit found in string; colour: unknown field `colour`, expected `limit`";
        assert_eq!(read("/?limit=x&colour=x").await, both);
        assert_eq!(read("/?limit=1&limit=2").await, "query: duplicate field `limit`");
    }

    #[test]
    fn a_body_at_fault_names_every_field() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            replicas: u32,
            #[serde(default)]
            wait: bool,
        }
        let read = |body: Value| match parse::<Body>(body) {
            Ok(body) => format!("{} {}", body.replicas, body.wait),
            Err(error) => {
                error.0.errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(read(serde_json::json!({"replicas": 3})), "3 false");
        assert_eq!(
            read(serde_json::json!({"replicas": "x", "wait": 1, "colour": 2})),
            "colour replicas wait"
        );
        assert_eq!(read(serde_json::json!({"wait": 1})), "wait replicas");
        assert_eq!(read(serde_json::json!({})), "replicas");
        assert_eq!(read(serde_json::json!([])), "body");
        assert_eq!(read(serde_json::json!("x")), "body");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read_json(&[], never).await, Err(Code::RequestTimeout));
    }

    #[tokio::test]
    async fn bodies_that_are_too_large_or_no_json_are_told_apart() {
        assert_eq!(read_json(&[], vec![b' '; MAX_BODY + 1]).await, Err(Code::PayloadTooLarge));
        assert_eq!(read_json(&[], "{").await, Err(Code::InvalidRequest));
        assert_eq!(read_json(&[], "[".repeat(10_000)).await, Err(Code::InvalidRequest));
    }
}
