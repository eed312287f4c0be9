//! `GET /api/v1/events?service=&after_id=&limit=`: what happened, as a list; with `Accept: text/event-stream` also what
//! happens from now on. A stream begins with stored events if `after_id`, `limit` or `Last-Event-ID` ask for them.

use crate::error::Result;
use crate::extract::Params;
use crate::serve::Closing;
use crate::{Ctx, sse};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Json, Response};
use futures_util::{Stream, stream};
use myagent_control::{EventFilter, Handle};
use myagent_core::event::Event;
use myagent_core::view::Page;
use serde::Deserialize;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::broadcast::{self, error::RecvError};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EventQuery {
    service: Option<String>,
    after_id: Option<i64>,
    limit: Option<usize>,
}

pub(crate) async fn get(
    State(shared): Ctx,
    Params(query): Params<EventQuery>,
    closing: Closing,
    headers: HeaderMap,
) -> Result<Response> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::ACCEPT).is_some_and(|accept| accept.contains("text/event-stream")) {
        let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
        let items = follow(shared.control.clone(), query, last_seen).await?;
        return Ok(sse::respond(items, &closing));
    }
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let filter = EventFilter { service: query.service, after_id: query.after_id, limit: Some(limit) };
    let events = shared.control.events(filter).await?;
    Ok(Json(Page::cut(events, limit, 0)).into_response())
}

/// Where a stream of events is.
struct Follow {
    control: Handle,
    receiver: broadcast::Receiver<Arc<Event>>,
    service: Option<String>,
    /// The newest event that was sent, so that none comes twice.
    last_id: Option<i64>,
    /// Stored events that are sent before the next new one.
    stored: VecDeque<Event>,
}

async fn follow(
    control: Handle,
    query: EventQuery,
    last_seen: Option<i64>,
) -> Result<impl Stream<Item = sse::Item<Event>> + Send> {
    // First the subscription, then the stored ones: nothing falls between.
    let receiver = control.follow_events();
    let after_id = last_seen.or(query.after_id);
    let stored = if after_id.is_some() || query.limit.is_some_and(|limit| limit > 0) {
        let limit = query.limit.unwrap_or(MAX_LIMIT).min(MAX_LIMIT);
        control.events(EventFilter { service: query.service.clone(), after_id, limit: Some(limit) }).await?
    } else {
        Vec::new()
    };
    let follow =
        Follow { control, receiver, service: query.service, last_id: after_id, stored: stored.into() };
    Ok(stream::unfold(follow, |mut follow| async move {
        let event = follow.next().await?;
        Some((sse::Item { id: Some(event.id), data: event }, follow))
    }))
}

impl Follow {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.stored.pop_front() {
                self.last_id = Some(event.id);
                return Some(event);
            }
            match self.receiver.recv().await {
                Ok(event) if self.wants(&event) => {
                    self.last_id = Some(event.id);
                    return Some((*event).clone());
                }
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => self.catch_up(missed).await,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn wants(&self, event: &Event) -> bool {
        self.last_id.is_none_or(|last| event.id > last)
            && self.service.as_ref().is_none_or(|service| event.service.as_ref() == Some(service))
    }

    /// A client that reads too slowly gets what it missed from the store.
    async fn catch_up(&mut self, missed: u64) {
        let Some(last) = self.last_id else {
            tracing::debug!(missed, "a client missed events before its first one");
            return;
        };
        let filter =
            EventFilter { service: self.service.clone(), after_id: Some(last), limit: Some(MAX_LIMIT) };
        match self.control.events(filter).await {
            Ok(events) => self.stored = events.into(),
            Err(problem) => {
                tracing::warn!(%problem, missed, "failed to read the events that a client missed");
            }
        }
    }
}
