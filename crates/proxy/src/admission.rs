//! Who is let in, before it is asked where to: limits over all connections, per client address, and on how many new ones
//! come in a second. Deciding takes no lock.

use myagent_core::clients::OpenClients;
use myagent_core::clock::Tick;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Limits of the front door; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of all clients, as far as they are known: what was closed in the last second may still count, and
    /// what was opened in the last milliseconds may not yet.
    pub connections: u32,
    /// Those of one client address (of IPv6: one /64).
    pub connections_per_ip: u32,
    /// New connections per second; a second's worth may come at once.
    pub accept_rate: u32,
}

/// The limits and what they need to know.
pub(crate) struct Admission {
    limits: Limits,
    pub(crate) clients: Arc<dyn OpenClients + Send + Sync>,
    rate: Rate,
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// All connections that there may be are open.
    Full(u32),
    /// So many of this client are.
    PerClient(IpAddr, u32),
    /// Too many came at once; when to come again.
    Rate(Duration),
}

impl Denied {
    /// For the client.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Full(limit) => format!("all {limit} connections that are allowed are open"),
            Self::PerClient(client, limit) => {
                format!("{client} has all {limit} connections that it may have")
            }
            Self::Rate(_) => "too many new connections at once".to_owned(),
        }
    }
}

impl Admission {
    pub(crate) fn new(limits: Limits, clients: Arc<dyn OpenClients + Send + Sync>) -> Self {
        Self { limits, clients, rate: Rate::new(limits.accept_rate) }
    }

    /// Lets a client in, or says why not. `open` is how many connections there are; it is asked only if that matters.
    pub(crate) fn admit(&self, client: IpAddr, open: impl FnOnce() -> u32, now: Tick) -> Result<(), Denied> {
        let Limits { connections, connections_per_ip, accept_rate } = self.limits;
        if connections > 0 && open() >= connections {
            return Err(Denied::Full(connections));
        }
        if connections_per_ip > 0 && self.clients.count_of(client) >= connections_per_ip {
            return Err(Denied::PerClient(client, connections_per_ip));
        }
        if accept_rate > 0 { self.rate.take(now).map_err(Denied::Rate) } else { Ok(()) }
    }
}

/// A bucket with a second's worth of tokens, as one number: the time at which it will be full again (the virtual scheduling
/// form of the generic cell rate algorithm, ITU-T I.371).
struct Rate {
    per_second: u64,
    /// Nanoseconds.
    full_at: AtomicU64,
    /// Clients that were told to come again and have not been let in since.
    sent_off: AtomicU64,
}

const SECOND: u64 = 1_000_000_000;

impl Rate {
    fn new(per_second: u32) -> Self {
        let per_second = u64::from(per_second).max(1);
        Self { per_second, full_at: AtomicU64::new(0), sent_off: AtomicU64::new(0) }
    }

    /// Takes a token; none: after how long the client may come again, such that all who were sent off find one.
    fn take(&self, now: Tick) -> Result<(), Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let step = SECOND / self.per_second;
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let full_at = full_at.max(now) + step;
            (full_at - now <= SECOND).then_some(full_at)
        });
        match taken {
            Ok(full_at) if full_at <= now => {
                // It was full: whoever was sent off does not come any more.
                self.sent_off.store(0, Ordering::Relaxed);
                Ok(())
            }
            Ok(_) => {
                let less = |count: u64| count.checked_sub(1);
                // Nobody was sent off: nothing to count down.
                let _ = self.sent_off.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
                Ok(())
            }
            Err(_) => {
                let before = self.sent_off.fetch_add(1, Ordering::Relaxed);
                Err(Duration::from_secs_f64(before as f64 / self.per_second as f64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_clients_may_come_at_once_and_then_one_by_one() {
        let rate = Rate::new(100);
        let at = |millis: u64| Duration::from_millis(1_000_000 + millis);
        let admitted = |millis, count| (0..count).filter(|_| rate.take(at(millis)).is_ok()).count();
        assert_eq!(admitted(0, 500), 100);
        // 400 were sent off; each of the next is told to come behind them.
        assert_eq!(rate.take(at(0)), Err(Duration::from_secs(4)));
        assert_eq!(admitted(10, 10), 1);
        assert_eq!(admitted(110, 500), 10);
        assert_eq!(admitted(60_000, 500), 100);
        assert_eq!(rate.take(at(60_000)), Err(Duration::from_secs(4)));
    }

    #[test]
    fn each_limit_is_told() {
        struct Five;
        impl OpenClients for Five {
            fn count_of(&self, _: IpAddr) -> u32 {
                5
            }
            fn handed_over(&self, _: myagent_core::ConnectionId, _: IpAddr) {}
            fn given_back(&self, _: myagent_core::ConnectionId) {}
        }
        let client = "10.0.0.1".parse().unwrap();
        let check = |connections, connections_per_ip, accept_rate, expected: Option<&str>| {
            let limits = Limits { connections, connections_per_ip, accept_rate };
            let admission = Admission::new(limits, Arc::new(Five));
            let found =
                admission.admit(client, || 7, Duration::from_secs(1)).err().map(|denied| denied.reason());
            assert_eq!(found.as_deref(), expected);
        };
        check(0, 0, 0, None);
        check(8, 6, 1, None);
        check(7, 0, 0, Some("all 7 connections that are allowed are open"));
        check(0, 5, 0, Some("10.0.0.1 has all 5 connections that it may have"));
        let one = Admission::new(Limits { accept_rate: 1, ..Limits::default() }, Arc::new(()));
        assert_eq!(one.admit(client, || 0, Duration::from_secs(1)), Ok(()));
        let denied = one.admit(client, || 0, Duration::from_secs(1)).unwrap_err();
        assert_eq!(denied.reason(), "too many new connections at once");
    }
}
