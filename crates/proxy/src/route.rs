//! From a request to an instance: decide, offer, wait, refuse.

use crate::ProxyEvent;
use crate::admission::Denied;
use crate::answer::Answer;
use crate::arrive::end;
use crate::client::Client;
use crate::handover::{Link, Offered, Reason};
use crate::head::{self, Head, Kind};
use crate::journey::{Journey, MAX_TRIES};
use crate::refuse::{self, Refused};
use crate::thread::Thread;
use crate::ticks::{Counting, Peeking};
use myagent_core::front_door::Turned;
use myagent_core::routing::{Choice, Decision, PoolId, Ticks, decide};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How often the first in the queue tries without having heard of a change: places are told once a second only.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// When a refused client may try again: this, up to twice this.
const RETRY_SOON: Duration = Duration::from_secs(1);
const RETRY_LATE: Duration = Duration::from_secs(5);

/// Why a newcomer waits.
const OTHERS_WAIT: &str = "others wait for an instance already";

/// The next thing to do with a client.
pub(crate) enum Step {
    /// Offer it to this runner, which was chosen from that pool.
    Offer(Rc<Link>, Reason, PoolId),
    /// Wait with the others of this pool.
    Wait(String, PoolId),
    /// Tell it why not, and whether trying again can help.
    Refuse(String, bool),
}

/// Who was found for a client.
pub(crate) enum Chosen {
    /// The instance of this runner.
    Runner(Rc<Link>, Reason),
    /// Nobody: why, and whether trying again can help.
    Nobody(String, bool),
    /// The client has left.
    Left,
}

/// Finds an instance for a client and hands it over, or refuses it. `first` is what was decided already.
pub(crate) async fn route(
    thread: Rc<Thread>,
    client: Client,
    head: Head,
    mut journey: Journey,
    mut first: Option<Step>,
) {
    // Only a socket that is gone cannot be watched.
    let Ok(mut client) = client.watch() else { return };
    // Of the last decision.
    let mut pool = PoolId::All;
    let (reason, recoverable) = loop {
        match choose(&thread, &mut client, &mut journey, &mut first, &mut pool).await {
            Chosen::Runner(link, why) => match link.offer(&thread, client, why, journey).await {
                Offered::Sent => return,
                Offered::NotSent(returned) => (client, journey) = *returned,
            },
            Chosen::Nobody(reason, recoverable) => break (reason, recoverable),
            Chosen::Left => return,
        }
    };
    // Being told may take a while; the next in the queue need not wait for that.
    drop(journey);
    refuse(&thread, client, &head, reason, recoverable).await;
}

/// Finds an instance for a client, and waits for one if that makes sense. `first` is what was decided already, `pool` that of
/// the last decision.
pub(crate) async fn choose(
    thread: &Thread,
    client: &mut Client,
    journey: &mut Journey,
    first: &mut Option<Step>,
    pool: &mut PoolId,
) -> Chosen {
    loop {
        if journey.has_failed() {
            thread.counters.turned_away(Turned::InstanceFailed);
            return Chosen::Nobody(journey.last.take().unwrap_or_default(), true);
        }
        // Made before the decision, so that no change after it is missed.
        let mut changed = pin!(thread.changed.notified());
        let step = if let Some(decided) = first.take() {
            decided
        } else if journey.place.as_ref().is_some_and(|place| !place.is_first()) {
            Step::Wait(OTHERS_WAIT.to_owned(), *pool)
        } else if journey.tried.len() >= MAX_TRIES {
            Step::Wait("several instances were full".to_owned(), *pool)
        } else {
            next_step(thread, client, journey)
        };
        let reason = match step {
            Step::Offer(link, why, from) => {
                *pool = from;
                return Chosen::Runner(link, why);
            }
            Step::Wait(reason, from) => {
                *pool = from;
                reason
            }
            Step::Refuse(reason, recoverable) => {
                thread.counters.turned_away(Turned::NoInstance);
                return Chosen::Nobody(journey.last.take().unwrap_or(reason), recoverable);
            }
        };
        let reason = journey.last.take().unwrap_or(reason);
        if journey.is_final {
            thread.counters.turned_away(Turned::InstanceFailed);
            return Chosen::Nobody(reason, true);
        }
        if journey.place.is_none() {
            journey.place = thread.shared.queue.join(*pool);
        }
        let Some(place) = &journey.place else {
            thread.counters.turned_away(Turned::QueueFull);
            return Chosen::Nobody(format!("{reason}, and no more clients may wait"), true);
        };
        let wait = thread.shared.config.queue_timeout;
        let until = *journey.deadline.get_or_insert_with(|| Instant::now() + wait);
        let is_first = place.is_first();
        let in_vain = tokio::select! {
            () = &mut changed => None,
            () = place.turn() => None,
            () = sleep(TRY_EVERY), if is_first => None,
            () = sleep_until(until) => Some((Turned::QueueTimeout, reason)),
            () = thread.closing.cancelled() => {
                Some((Turned::ShuttingDown, "the manager is shutting down".to_owned()))
            }
            () = client.left() => {
                thread.counters.left();
                return Chosen::Left;
            }
        };
        if let Some((why, reason)) = in_vain {
            thread.counters.turned_away(why);
            return Chosen::Nobody(reason, true);
        }
        journey.tried.clear();
    }
}

/// Lets a client in that wants an instance, or says why not.
pub(crate) fn admit(thread: &Thread, client: &Client) -> Result<(), Denied> {
    thread.shared.admission.admit(client.peer.ip(), || thread.open_connections(), thread.shared.now())
}

/// Tells a client that it is not let in, and when to come again.
pub(crate) async fn deny(thread: &Thread, client: Client, head: &Head, denied: Denied) {
    thread.denied(&denied);
    let after = match denied {
        Denied::Rate(after) => after.max(RETRY_SOON),
        Denied::Full(_) | Denied::PerClient(..) => RETRY_LATE,
    };
    tell(thread, client, head, denied.reason(), true, after).await;
}

/// Decides, without waiting for anything.
pub(crate) fn next_step(thread: &Thread, client: &Client, journey: &Journey) -> Step {
    thread.catch_up();
    let counting = Counting { registry: &thread.shared.ticks, ticks: &thread.ticks };
    let queue = &thread.shared.queue;
    if journey.place.is_none() && queue.waiting() > 0 {
        // A newcomer that must not overtake those who wait takes nobody's turn either.
        let peeking = Peeking(Counting { registry: &thread.shared.ticks, ticks: &thread.ticks });
        match decide_by(thread, client, journey, &peeking) {
            Step::Offer(.., pool) if !queue.has_waiting(pool) => {}
            Step::Offer(.., pool) => return Step::Wait(OTHERS_WAIT.to_owned(), pool),
            other => return other,
        }
    }
    decide_by(thread, client, journey, &counting)
}

fn decide_by(thread: &Thread, client: &Client, journey: &Journey, ticks: &dyn Ticks) -> Step {
    thread.with_live(&journey.tried, ticks, |snapshot, live, scratch| {
        head::with_context(&client.bytes, client.peer, |context| {
            match decide(snapshot, context, live, scratch) {
                Decision::Go(choice) => {
                    let rule = choice.rule.map(|rule| rule.spec.name.clone());
                    let session = context.target.session_id.as_deref().map(str::to_owned);
                    let Choice { strategy, kind: pool, .. } = choice;
                    let why = Reason { strategy, rule, pool, attempt: journey.count, session };
                    Step::Offer(thread.runners.link(choice.instance), why, choice.pool)
                }
                Decision::Wait { reason, pool } => Step::Wait(reason, pool),
                Decision::Refuse { reason, recoverable } => Step::Refuse(reason, recoverable),
            }
        })
    })
}

/// Tells a client that nobody serves it.
pub(crate) async fn refuse(thread: &Thread, client: Client, head: &Head, reason: String, recoverable: bool) {
    let service = head.service.as_deref().map(str::to_owned);
    thread.shared.tell(ProxyEvent::TurnedAway { reason: reason.clone(), service });
    let after = if recoverable { RETRY_SOON } else { RETRY_LATE };
    tell(thread, client, head, reason, recoverable, after).await;
}

/// `after` is made longer by chance, up to twice, so that those who are told together do not come together.
async fn tell(
    thread: &Thread,
    client: Client,
    head: &Head,
    reason: String,
    recoverable: bool,
    after: Duration,
) {
    let retry_after = thread.shared.jittered(after);
    let parts = head::websocket_parts(&client.bytes);
    let bytes = if head.kind == Kind::WebSocket && !parts.key.is_empty() {
        let refused = Refused { reason, recoverable, retry_after };
        refuse::websocket(parts.key, parts.protocol, &refused, thread.shared.clock.now())
    } else {
        Answer::unavailable(reason, retry_after).bytes(false, head.is_head_method).into_bytes()
    };
    if let Ok(stream) = client.socket.watched() {
        end(thread, stream, &bytes).await;
    }
}
