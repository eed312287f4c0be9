//! A bad network: a TCP proxy between clients and a server that cuts their connections, or loses what they send.

use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// One read takes at most this much.
const READ: usize = 16 * 1024;

/// What happens to connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Each new one is cut, without a word, after so many bytes from the server: a random number of this range.
    Cuts(Range<u64>),
    /// New ones are closed at once.
    Refused,
    /// What clients send on any of them goes nowhere.
    Deaf,
}

/// The proxy; dropping it cuts everything.
#[derive(Debug)]
pub struct Chaos {
    /// Where clients connect.
    pub address: SocketAddr,
    state: watch::Sender<State>,
    counters: Arc<Counters>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Debug)]
struct State {
    target: SocketAddr,
    trouble: Trouble,
    /// Connections of an older one are cut.
    generation: u64,
}

#[derive(Debug, Default)]
struct Counters {
    cuts: AtomicU64,
    lost: AtomicU64,
}

impl Chaos {
    /// Listens on a port of the kernel's choice, in front of this server. The same seed gives the same numbers.
    pub async fn start(target: SocketAddr, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (state, watched) = watch::channel(State { target, trouble: Trouble::None, generation: 0 });
        let counters = Arc::new(Counters::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, watched, Arc::clone(&counters), seed));
        Ok(Self { address, state, counters, _tasks: tasks })
    }

    /// From now on.
    pub fn set(&self, trouble: Trouble) {
        self.state.send_modify(|state| state.trouble = trouble);
    }

    /// New connections go to another server.
    pub fn retarget(&self, target: SocketAddr) {
        self.state.send_modify(|state| state.target = target);
    }

    /// Cuts all connections that there are.
    pub fn cut_all(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// Connections that were cut after their number of bytes.
    pub fn cuts(&self) -> u64 {
        self.counters.cuts.load(Ordering::Relaxed)
    }

    /// Bytes of clients that went nowhere.
    pub fn lost(&self) -> u64 {
        self.counters.lost.load(Ordering::Relaxed)
    }
}

async fn accept(
    listener: TcpListener,
    watched: watch::Receiver<State>,
    counters: Arc<Counters>,
    mut seed: u64,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let state = watched.borrow().clone();
        let limit = match &state.trouble {
            Trouble::Refused => continue,
            Trouble::Cuts(range) => Some(range.start + next(&mut seed) % (range.end - range.start)),
            Trouble::None | Trouble::Deaf => None,
        };
        connections.spawn(carry(client, state, limit, watched.clone(), Arc::clone(&counters)));
        // Those that have ended are forgotten.
        while connections.try_join_next().is_some() {}
    }
}

/// One connection, until either side ends it or it is cut.
async fn carry(
    client: TcpStream,
    begun: State,
    limit: Option<u64>,
    watched: watch::Receiver<State>,
    counters: Arc<Counters>,
) {
    let Ok(server) = TcpStream::connect(begun.target).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut cut = watched.clone();
    let up = async {
        let mut buffer = vec![0; READ];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            if watched.borrow().trouble == Trouble::Deaf {
                counters.lost.fetch_add(count as u64, Ordering::Relaxed);
            } else if to_server.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; READ];
        let mut left = limit.unwrap_or(u64::MAX);
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
            if to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            left -= count as u64;
            if left == 0 {
                counters.cuts.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        // An error means that the proxy is being dropped, which cuts as well.
        _ = cut.wait_for(|state| state.generation != begun.generation) => {}
    }
}

/// The next of a row of numbers that looks random (SplitMix64).
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_for;
    use std::time::Duration;

    /// Sends the same byte for ever, and swallows what it hears.
    async fn flood(listener: TcpListener) {
        let mut clients = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            clients.spawn(async move { while client.write_all(&[7; 100]).await.is_ok() {} });
        }
    }

    #[tokio::test]
    async fn connections_are_cut_after_a_random_number_of_bytes_and_refused() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(flood(listener));
        let chaos = Chaos::start(address, 1).await.unwrap();
        chaos.set(Trouble::Cuts(1000..2000));
        let mut counts = Vec::new();
        for _ in 0..5 {
            let mut client = TcpStream::connect(chaos.address).await.unwrap();
            let mut all = Vec::new();
            // However the cut looks to the client, it is the end.
            let _ = client.read_to_end(&mut all).await;
            counts.push(all.len());
        }
        assert!(counts.iter().all(|count| (1000..2000).contains(count)), "{counts:?}");
        counts.dedup();
        assert!(counts.len() > 1 && chaos.cuts() == 5, "{counts:?}");

        chaos.set(Trouble::Refused);
        let mut client = TcpStream::connect(chaos.address).await.unwrap();
        assert!(matches!(client.read(&mut [0; 10]).await, Ok(0) | Err(_)));
    }

    #[tokio::test]
    async fn what_is_sent_is_lost_and_all_are_cut() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let chaos = Chaos::start(listener.local_addr().unwrap(), 1).await.unwrap();
        let mut client = TcpStream::connect(chaos.address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(b"heard").await.unwrap();
        let mut heard = [0; 5];
        server.read_exact(&mut heard).await.unwrap();
        chaos.set(Trouble::Deaf);
        client.write_all(b"not heard").await.unwrap();
        wait_for(Duration::from_secs(30), "the loss", async || (chaos.lost() == 9).then_some(())).await;
        chaos.cut_all();
        assert!(matches!(server.read(&mut heard).await, Ok(0) | Err(_)));
        assert!(matches!(client.read(&mut heard).await, Ok(0) | Err(_)));
    }
}
