//! One client from accept to hand-over: head, origin, route, offer, wait, refuse.

use crate::ProxyEvent;
use crate::answer::Answer;
use crate::handover::{Link, Offered, Reason, is_failure};
use crate::head::{self, Head, HeadError};
use crate::queue::Place;
use crate::refuse::{self, Refused};
use crate::thread::Thread;
use crate::ticks::{Counting, Peeking};
use myagent_core::origin;
use myagent_core::routing::{Decision, FixedTick, PoolId, Ticks, decide};
use myagent_core::wire::handover::{MAX_REST, Refusal};
use myagent_core::{ConnectionId, InstanceKey};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Runners that are tried for one client: when so many have failed it is refused, when some were only full it waits.
const MAX_TRIES: usize = 3;
/// How often the first in the queue tries without having heard of a change: places are told once a second only.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// When a refused client may try again: this, up to twice this.
const RETRY_SOON: Duration = Duration::from_secs(1);
const RETRY_LATE: Duration = Duration::from_secs(5);

/// Why a newcomer waits.
const OTHERS_WAIT: &str = "others wait for an instance already";

/// A client with everything that was read from it.
pub(crate) struct Client {
    pub(crate) connection_id: ConnectionId,
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    /// The head and what came behind it.
    pub(crate) bytes: Vec<u8>,
    pub(crate) head_len: usize,
    /// Given up with the socket, so that clients in the hands of a runner that does not answer keep nobody out. None for
    /// one that was given back.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl Client {
    /// Waits until the client has left. What it sends meanwhile is kept for the runner, up to a bound; beyond that its
    /// leaving is not seen, and the time limit of the queue ends the wait.
    async fn left(&mut self) {
        while self.bytes.len() < self.head_len + MAX_REST {
            if self.stream.readable().await.is_err() {
                return;
            }
            let mut buffer = [0; 1024];
            let room = (self.head_len + MAX_REST - self.bytes.len()).min(buffer.len());
            match self.stream.try_read(&mut buffer[..room]) {
                Ok(0) => return,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        pending::<()>().await;
    }
}

/// Serves a client that was accepted.
pub(crate) async fn serve(
    thread: Rc<Thread>,
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    // Only a socket that is gone refuses this.
    let _ = stream.set_nodelay(true);
    let mut bytes = Vec::new();
    let reading = head::read(&stream, &thread.scratch, &mut bytes);
    let head = match timeout(thread.shared.config.head_timeout, reading).await {
        Ok(Ok(head)) => head,
        Ok(Err(HeadError::Left)) => return,
        Ok(Err(error)) => {
            let status = match error {
                HeadError::TooLarge => "431 Request Header Fields Too Large",
                _ => "400 Bad Request",
            };
            return Answer::bad_head(status, error.to_string()).send(stream, false).await;
        }
        // A browser opens connections in advance and says nothing on them: no answer was asked for.
        Err(_) if bytes.is_empty() => return,
        Err(_) => {
            let detail = "the request head did not come in time".to_owned();
            return Answer::bad_head("408 Request Timeout", detail).send(stream, false).await;
        }
    };
    if head.is_health {
        return Answer::health().send(stream, head.is_head_method).await;
    }
    if let Some(origin) = &head.origin
        && !origin::is_allowed(origin, &thread.shared.config.allowed_origins)
    {
        return Answer::foreign_origin(origin).send(stream, head.is_head_method).await;
    }
    let connection_id = ConnectionId((thread.shared.random_id)());
    // From here on the client is who trusted proxies say.
    let peer = head::client_address(&bytes, peer, &thread.shared.config.trusted_proxies);
    let client = Client { connection_id, stream, peer, bytes, head_len: head.len, permit: Some(permit) };
    route(&thread, client, &head, Attempts::default()).await;
}

/// Serves a client that a runner had taken and gave back later; `attempt` is the number of that offer. Counted on, so that
/// runners which all do this cannot pass a client round for ever.
pub(crate) async fn serve_given_back(
    thread: Rc<Thread>,
    client: Client,
    by: InstanceKey,
    attempt: u32,
    detail: String,
) {
    let Ok(Some(head)) = head::parse(&client.bytes) else { return };
    let count = attempt.saturating_add(1);
    if count as usize >= MAX_TRIES {
        return refuse(&thread, client, &head, detail, true).await;
    }
    let attempts =
        Attempts { tried: vec![by], count, failed: count as usize, last: Some(detail), is_final: false };
    route(&thread, client, &head, attempts).await;
}

/// The next thing to do with a client.
enum Step {
    /// Offer it to this runner, which was chosen from that pool.
    Offer(Rc<Link>, Reason, PoolId),
    /// Wait with the others of this pool.
    Wait(String, PoolId),
    /// Tell it why not, and whether trying again can help.
    Refuse(String, bool),
}

/// What was tried for one client.
#[derive(Default)]
struct Attempts {
    /// Runners not to try again before something has changed.
    tried: Vec<InstanceKey>,
    /// Runners that gave it back, or were not reached.
    count: u32,
    /// Those of them that failed.
    failed: usize,
    /// What the last one said.
    last: Option<String>,
    /// Waiting cannot help: the last one tried said so.
    is_final: bool,
}

/// Finds an instance for a client and hands it over, or refuses it.
async fn route(thread: &Rc<Thread>, mut client: Client, head: &Head, mut attempts: Attempts) {
    let mut place: Option<Place> = None;
    // Of the last decision.
    let mut pool = PoolId::All;
    let mut deadline: Option<Instant> = None;
    let (reason, recoverable) = loop {
        // Made before the decision, so that no change after it is missed.
        let mut changed = pin!(thread.changed.notified());
        let step = if place.as_ref().is_some_and(|place| !place.is_first()) {
            Step::Wait(OTHERS_WAIT.to_owned(), pool)
        } else if attempts.tried.len() >= MAX_TRIES {
            Step::Wait("several instances were full".to_owned(), pool)
        } else {
            next_step(thread, &client, head, &attempts, place.is_some())
        };
        if !head.is_websocket && !matches!(step, Step::Refuse(..)) {
            return Answer::upgrade_required().send(client.stream, head.is_head_method).await;
        }
        let reason = match step {
            Step::Offer(link, why, from) => {
                pool = from;
                let leave_queue = || drop(place.take());
                let offered = link.offer(thread, client, why, leave_queue).await;
                match attempts.note(&link, offered) {
                    Some(returned) => client = returned,
                    None => return,
                }
                if attempts.failed < MAX_TRIES {
                    continue;
                }
                break (attempts.last.take().unwrap_or_default(), true);
            }
            Step::Wait(reason, from) => {
                pool = from;
                reason
            }
            Step::Refuse(reason, recoverable) => {
                let reason = attempts.last.take().unwrap_or(reason);
                break (reason, recoverable);
            }
        };
        let reason = attempts.last.take().unwrap_or(reason);
        if attempts.is_final {
            break (reason, true);
        }
        if place.is_none() {
            place = thread.shared.queue.join(pool);
        }
        let Some(place) = &place else {
            break (format!("{reason}, and no more clients may wait"), true);
        };
        let until = *deadline.get_or_insert_with(|| Instant::now() + thread.shared.config.queue_timeout);
        let is_first = place.is_first();
        let in_vain = tokio::select! {
            () = &mut changed => None,
            () = place.turn() => None,
            () = sleep(TRY_EVERY), if is_first => None,
            () = sleep_until(until) => Some(reason),
            () = thread.closing.cancelled() => Some("the manager is shutting down".to_owned()),
            () = client.left() => return,
        };
        if let Some(reason) = in_vain {
            break (reason, true);
        }
        attempts.tried.clear();
    };
    // Being told may take a while; the next in the queue need not wait for that.
    drop(place);
    refuse(thread, client, head, reason, recoverable).await;
}

/// Decides, without waiting for anything. `has_place`: it is its turn, whoever else waits.
fn next_step(thread: &Thread, client: &Client, head: &Head, attempts: &Attempts, has_place: bool) -> Step {
    thread.catch_up();
    let counting = Counting { registry: &thread.shared.ticks, ticks: &thread.ticks };
    // Plain HTTP takes nobody's turn.
    if !head.is_websocket {
        return decide_by(thread, client, attempts, &FixedTick(0));
    }
    let queue = &thread.shared.queue;
    if !has_place && queue.waiting() > 0 {
        // Nor does a newcomer that must not overtake those who wait.
        let peeking = Peeking(Counting { registry: &thread.shared.ticks, ticks: &thread.ticks });
        match decide_by(thread, client, attempts, &peeking) {
            Step::Offer(.., pool) if !queue.has_waiting(pool) => {}
            Step::Offer(.., pool) => return Step::Wait(OTHERS_WAIT.to_owned(), pool),
            other => return other,
        }
    }
    decide_by(thread, client, attempts, &counting)
}

fn decide_by(thread: &Thread, client: &Client, attempts: &Attempts, ticks: &dyn Ticks) -> Step {
    thread.with_live(&attempts.tried, ticks, |snapshot, live, scratch| {
        head::with_context(&client.bytes, client.peer, |context| {
            match decide(snapshot, context, live, scratch) {
                Decision::Go(choice) => {
                    let rule = choice.rule.map(|rule| rule.spec.name.clone());
                    let session = context.target.session_id.as_deref().map(str::to_owned);
                    let why = Reason { strategy: choice.strategy, rule, attempt: attempts.count, session };
                    Step::Offer(thread.runners.link(choice.instance), why, choice.pool)
                }
                Decision::Wait { reason, pool } => Step::Wait(reason, pool),
                Decision::Refuse { reason, recoverable } => Step::Refuse(reason, recoverable),
            }
        })
    })
}

impl Attempts {
    /// Notes what became of an offer; the client, if it is here again.
    fn note(&mut self, link: &Link, offered: Offered) -> Option<Client> {
        let (client, detail) = match offered {
            Offered::Taken | Offered::Lost => return None,
            Offered::GivenBack { client, reason, detail } => {
                // Full, draining and not ready pass by themselves: waiting helps. An agent that answers with an error
                // of its own will do so again.
                self.failed += usize::from(is_failure(reason));
                self.is_final = matches!(reason, Refusal::UpstreamError | Refusal::BadRequest);
                (client, detail)
            }
            Offered::NotSent { client, detail } => {
                self.failed += 1;
                (client, detail)
            }
        };
        self.tried.push(link.key());
        self.count += 1;
        self.last = Some(detail);
        Some(client)
    }
}

/// Tells a client that nobody serves it.
async fn refuse(thread: &Thread, client: Client, head: &Head, reason: String, recoverable: bool) {
    let service = head.service.as_deref().map(str::to_owned);
    thread.shared.tell(ProxyEvent::TurnedAway { reason: reason.clone(), service });
    let retry_after = thread.shared.jittered(if recoverable { RETRY_SOON } else { RETRY_LATE });
    let parts = head::websocket_parts(&client.bytes);
    if head.is_websocket && !parts.key.is_empty() {
        let refused = Refused { reason, recoverable, retry_after };
        let now = thread.shared.clock.now();
        refuse::websocket(client.stream, parts.key, parts.protocol, &refused, now).await;
    } else {
        Answer::unavailable(reason, retry_after).send(client.stream, head.is_head_method).await;
    }
}
