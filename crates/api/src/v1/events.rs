//! `GET /api/v1/events?service=&after_id=&limit=`: what happened, as a list; with `Accept: text/event-stream` also what
//! happens from now on. A stream begins with stored events if `after_id`, `limit` or `Last-Event-ID` ask for them.

use crate::error::{ApiError, Result};
use crate::extract::Params;
use crate::paging;
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
use utoipa::IntoParams;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Only those of this service, by name or id.
    service: Option<String>,
    /// Only those of these kinds, separated by commas: `instance.error`, or `rule.` for all that begin so.
    kind: Option<String>,
    /// Only those after the one with this id.
    #[param(minimum = 0)]
    after_id: Option<u64>,
    /// Most events, at most 1000; without `after_id` the newest. A stream begins with so many, and has no end.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    #[serde(deserialize_with = "paging::up_to::<_, 1000>")]
    limit: Option<u32>,
}

/// Lists what happened, the oldest first.
///
/// With `Accept: text/event-stream` also what happens from now on; `Last-Event-ID` goes on where a stream broke.
#[utoipa::path(
    get,
    path = "/events",
    operation_id = "list_events",
    tag = "events",
    params(EventQuery, ("Last-Event-ID" = Option<i64>, Header, description = "The id of the last event that was received.")),
    responses((status = 200, description = "Events.", content((Page<Event> = "application/json"), (String = "text/event-stream"))), (status = 404))
)]
pub(crate) async fn get(
    State(shared): Ctx,
    Params(query): Params<EventQuery>,
    closing: Closing,
    headers: HeaderMap,
) -> Result<Response> {
    let last_seen = last_event_id(&headers)?;
    let filter = query.filter();
    let filter = EventFilter { after_id: last_seen.or(filter.after_id), ..filter };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::ACCEPT).is_some_and(|accept| accept.contains("text/event-stream")) {
        let begins_with = query.limit.is_some().then_some(filter.limit).flatten();
        let items = follow(shared.control.clone(), filter, begins_with).await?;
        return Ok(sse::respond(items, &closing));
    }
    let limit = filter.limit.unwrap_or_default();
    let total = shared.control.count_events(&filter).await?;
    let goes_on = filter.after_id.is_some();
    // One more tells whether there are more; without an event to begin after, these are the last.
    let more = EventFilter { limit: Some(if goes_on { limit + 1 } else { limit }), ..filter };
    let mut items = shared.control.events(more).await?;
    let has_more = items.len() > limit;
    items.truncate(limit);
    Ok(Json(Page { items, total, limit, offset: 0, has_more }).into_response())
}

/// Where a stream broke.
fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>> {
    let Some(id) = headers.get("last-event-id") else { return Ok(None) };
    let id = id.to_str().ok().and_then(|id| id.trim().parse().ok()).filter(|id| *id >= 0);
    id.map(Some).ok_or_else(|| ApiError::field("Last-Event-ID", "must be the id of an event, a whole number"))
}

impl EventQuery {
    fn filter(&self) -> EventFilter {
        let kinds = self
            .kind
            .iter()
            .flat_map(|kinds| kinds.split(','))
            .map(str::trim)
            .filter(|kind| !kind.is_empty());
        EventFilter {
            service: self.service.clone(),
            kinds: kinds.map(str::to_owned).collect(),
            after_id: self.after_id.map(|id| i64::try_from(id).unwrap_or(i64::MAX)),
            limit: Some(self.limit.unwrap_or(paging::DEFAULT_LIMIT) as usize),
        }
    }
}

/// Most stored events that a stream holds at once.
const CHUNK: usize = 200;

/// Where a stream of events is. It reads what happens from a channel that does not wait for it; when it has fallen behind, it reads
/// what is stored until it has caught up.
struct Follow {
    control: Handle,
    receiver: broadcast::Receiver<Arc<Event>>,
    filter: EventFilter,
    /// The newest event that was sent or passed over, so that none comes twice.
    last_id: i64,
    /// Stored events that are sent before the next new one.
    stored: VecDeque<Event>,
    /// There may be more stored events after those.
    behind: bool,
}

/// `begins_with`: so many of the newest come first, if no event is named after which to begin.
async fn follow(
    control: Handle,
    filter: EventFilter,
    begins_with: Option<usize>,
) -> Result<impl Stream<Item = sse::Item<Event>> + Send> {
    // First the subscription, then the stored ones: nothing falls between.
    let receiver = control.follow_events();
    let mut follow = Follow { control, receiver, filter, last_id: 0, stored: VecDeque::new(), behind: false };
    if let Some(after) = follow.filter.after_id {
        let newest = follow.control.events(EventFilter { limit: Some(1), ..EventFilter::default() }).await?;
        let newest = newest.last().map_or(0, |event| event.id);
        // One that there never was is of another database: what comes from now on is new to this client.
        (follow.last_id, follow.behind) = (after.min(newest), true);
        follow.catch_up().await?;
    } else if let Some(limit) = begins_with {
        let newest = EventFilter { limit: Some(limit), ..follow.filter.clone() };
        follow.stored = follow.control.events(newest).await?.into();
    } else if let Some(service) = &follow.filter.service {
        // A name that is not known is an error now, not a stream without events.
        follow.control.service(service)?;
    }
    Ok(stream::unfold(follow, |mut follow| async move {
        let event = follow.next().await?;
        Some((sse::Item { id: Some(event.id), data: event }, follow))
    }))
}

impl Follow {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.stored.pop_front() {
                self.last_id = event.id;
                return Some(event);
            }
            if self.behind {
                if let Err(problem) = self.catch_up().await {
                    // The client comes back with the last id that it has.
                    tracing::warn!(
                        detail = problem.0.detail,
                        "a stream of events ends: what it missed cannot be read"
                    );
                    return None;
                }
                continue;
            }
            match self.receiver.recv().await {
                Ok(event) if event.id <= self.last_id => {}
                Ok(event) => {
                    self.last_id = event.id;
                    if self.filter.matches(&event) {
                        return Some((*event).clone());
                    }
                }
                // Before its first event, it has missed nothing that it asked for but what has come since it subscribed.
                Err(RecvError::Lagged(_)) => self.behind = true,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Reads the next stored events.
    async fn catch_up(&mut self) -> Result<()> {
        let filter = EventFilter { after_id: Some(self.last_id), limit: Some(CHUNK), ..self.filter.clone() };
        let events = self.control.events(filter).await?;
        self.behind = events.len() == CHUNK;
        self.stored = events.into();
        Ok(())
    }
}
