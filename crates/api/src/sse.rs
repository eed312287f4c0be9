//! Server-sent events: one JSON document per event, a comment now and then so that a dead client is noticed, an end when
//! the server closes.

use crate::serve::Closing;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;

const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event of a stream.
#[derive(Debug)]
pub(crate) struct Item<T> {
    /// What a client sends back as `Last-Event-ID`.
    pub(crate) id: Option<i64>,
    /// Its content.
    pub(crate) data: T,
}

/// Answers with a stream that ends when `items` does or the server closes.
pub(crate) fn respond<T: Serialize + 'static>(
    items: impl Stream<Item = Item<T>> + Send + 'static,
    closing: &Closing,
) -> Response {
    let events = items.take_until(closing.closed()).map(|item| event(&item));
    // Some browsers and proxies pass on nothing, not even the head, before the first byte of the body.
    let opening = stream::once(async { Event::default().comment("") });
    let events = opening.chain(events).map(Ok::<_, Infallible>);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn event<T: Serialize>(item: &Item<T>) -> Event {
    // JSON has no line break outside its strings and escapes those inside, so it is always one line.
    let json = serde_json::to_string(&item.data).unwrap_or_else(|error| {
        tracing::error!(%error, "failed to write an event");
        "null".to_owned()
    });
    let event = Event::default().data(json);
    match item.id {
        Some(id) => event.id(id.to_string()),
        None => event,
    }
}
