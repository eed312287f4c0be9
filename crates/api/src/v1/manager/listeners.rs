//! `POST /api/v1/manager/listeners`: opens a listener for as long as the caller stays.
//!
//! The answer does not end: its first line is the address, then comes an empty line now and then. When the caller's
//! connection ends, however it ends, the body is dropped, the guard with it, and the listener closes.

use crate::error::Result;
use crate::extract::{Json, parse};
use crate::serve::Closing;
use crate::{Ctx, OpenListener};
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use myagent_core::request::ListenRequest;
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;

/// How often an empty line is sent.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

pub(crate) async fn post(State(shared): Ctx, closing: Closing, Json(body): Json) -> Result<Response> {
    let request: ListenRequest = parse(body)?;
    let listener = shared.manager.listen(request).await?;
    let lines = lines(listener).take_until(closing.closed());
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

pub(crate) fn lines(
    listener: OpenListener,
) -> impl Stream<Item = std::result::Result<Bytes, Infallible>> + Send {
    let OpenListener { address, guard } = listener;
    let first = format!("{}\n", json!({"address": address}));
    stream::unfold((Some(first), guard), |(first, guard)| async move {
        let line = if let Some(first) = first {
            Bytes::from(first)
        } else {
            tokio::time::sleep(KEEP_ALIVE).await;
            Bytes::from_static(b"\n")
        };
        Some((Ok(line), (None, guard)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn the_address_comes_first_and_the_guard_goes_with_the_stream() {
        let guard = Arc::new(());
        let listener =
            OpenListener { address: "127.0.0.1:9090".parse().unwrap(), guard: Box::new(Arc::clone(&guard)) };
        let mut lines = Box::pin(lines(listener));
        assert_eq!(lines.next().await.unwrap().unwrap(), "{\"address\":\"127.0.0.1:9090\"}\n");
        assert_eq!(lines.next().await.unwrap().unwrap(), "\n");
        assert_eq!(lines.next().await.unwrap().unwrap(), "\n");
        assert_eq!(Arc::strong_count(&guard), 2);
        drop(lines);
        assert_eq!(Arc::strong_count(&guard), 1);
    }
}
