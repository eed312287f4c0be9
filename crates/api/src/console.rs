//! The web console: its files, which are in the binary, and its pages.
//!
//! The console is one page that shows itself according to the path, so a browser that goes to a path of no file gets that page.
//! Everything that is not asked for by a browser's navigation is answered as if there was no console. Files below `assets/` have a
//! hash of their content in their name and are kept forever; all others are asked for again each time.

mod files;
mod negotiate;
mod policy;
#[cfg(test)]
mod tests;

use crate::error::Result;
use crate::origin::HostName;
use crate::{Ctx, edge};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use files::{Embedded, File, Files};
use negotiate::Encoding;
use sha1_smol::Sha1;
use std::net::SocketAddr;

/// The page.
const INDEX: &str = "index.html";
/// The page of a program that was built before its console.
const MISSING: &str = include_str!("console/missing.html");
/// The first segments of paths that are never pages of the console.
const NO_PAGES: [&str; 8] = ["api", "assets", "docs", "health", "livez", "metrics", "openapi.json", "readyz"];

const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

/// Answers what no endpoint does.
pub(crate) async fn serve(
    State(shared): Ctx,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response> {
    let proxies = || shared.manager.info().listeners.remove("proxy").unwrap_or_default();
    let asked = Asked { method: &method, uri: &uri, headers: &headers };
    match answer(&Embedded, asked, proxies) {
        Some(response) => Ok(response),
        None => Err(edge::not_found(uri).await),
    }
}

/// What a client asks for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
}

/// The answer; none: there is nothing of the console here.
fn answer(
    files: &impl Files,
    asked: Asked<'_>,
    proxies: impl FnOnce() -> Vec<SocketAddr>,
) -> Option<Response> {
    if !matches!(*asked.method, Method::GET | Method::HEAD) {
        return None;
    }
    let path = asked.uri.path().strip_prefix('/')?;
    if !matches!(path, "" | INDEX)
        && let Some((file, encoding)) = find(files, path, asked.headers)
    {
        let caching = if path.starts_with("assets/") { FOREVER } else { ASK_AGAIN };
        return Some(write(asked, file, encoding, path, caching));
    }
    if !is_page(path, asked.headers) {
        return None;
    }
    let (mut file, encoding) = find(files, INDEX, asked.headers).unwrap_or_else(missing);
    let policy = policy::content_security(host(asked).as_ref(), &proxies());
    // Browsers keep the policy of the page that they have when they hear that it is still the same: another policy makes it another one.
    file.tag = Sha1::from(format!("{} {policy}", file.tag)).digest().to_string();
    let mut response = write(asked, file, encoding, INDEX, ASK_AGAIN);
    guard(response.headers_mut(), &policy);
    Some(response)
}

/// A path without a file: the page itself, or one that it shows to a browser.
fn is_page(path: &str, headers: &HeaderMap) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    matches!(path, "" | INDEX) || (!NO_PAGES.contains(&first) && negotiate::wants_page(headers))
}

/// The host by which the client calls us.
fn host(asked: Asked<'_>) -> Option<HostName> {
    let authority = asked.uri.authority().map(axum::http::uri::Authority::as_str);
    let host = || asked.headers.get(header::HOST)?.to_str().ok();
    HostName::read(authority.or_else(host)?)
}

/// A file, in the best encoding that there is of it.
fn find(files: &impl Files, path: &str, headers: &HeaderMap) -> Option<(File, Option<Encoding>)> {
    let is_hidden = path.split('/').any(|segment| segment.starts_with('.'));
    // A compressed form is the same file, not another one.
    let is_form = Encoding::ALL.into_iter().any(|encoding| path.ends_with(encoding.suffix()));
    if is_hidden || is_form {
        return None;
    }
    let plain = files.get(path)?;
    let compressed = negotiate::encodings(headers)
        .into_iter()
        .find_map(|encoding| Some((files.get(&format!("{path}{}", encoding.suffix()))?, Some(encoding))));
    Some(compressed.unwrap_or((plain, None)))
}

/// The page that says how to make the console.
fn missing() -> (File, Option<Encoding>) {
    let tag = Sha1::from(MISSING).digest().to_string();
    (File { bytes: Bytes::from_static(MISSING.as_bytes()), tag }, None)
}

/// A file as an answer; only its headers, if that was asked for or the client has it already.
fn write(
    asked: Asked<'_>,
    file: File,
    encoding: Option<Encoding>,
    path: &str,
    caching: HeaderValue,
) -> Response {
    let mut response = Response::new(Body::empty());
    let is_known = knows(asked.headers, &file.tag);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, caching);
    // Whether there is a page at a path depends on who asks.
    let vary = if path == INDEX { "Accept, Accept-Encoding" } else { "Accept-Encoding" };
    headers.insert(header::VARY, HeaderValue::from_static(vary));
    headers.insert(RESOURCE_POLICY, SAME_ORIGIN);
    // A tag is made of hexadecimal digits.
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", file.tag)) {
        headers.insert(header::ETAG, tag);
    }
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(files::media_type(path)));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.bytes.len()));
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    }
    if *asked.method == Method::GET {
        *response.body_mut() = Body::from(file.bytes);
    }
    response
}

/// Whether the client has the file of this tag, by `If-None-Match`.
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).any(|given| {
        let strong = given.strip_prefix("W/").unwrap_or(given);
        given == "*" || strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) == Some(tag)
    })
}

/// Headers that keep a page to itself.
fn guard(headers: &mut HeaderMap, policy: &str) {
    match HeaderValue::from_str(policy) {
        Ok(policy) => {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        Err(error) => tracing::error!(%error, policy, "failed to write the policy of a page"),
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER_POLICY, SAME_ORIGIN);
    headers.insert(PERMISSIONS_POLICY, HeaderValue::from_static(policy::PERMISSIONS));
}
