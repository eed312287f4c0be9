//! What one message costs a relay: a client and an agent on a thread of their own exchange so many echoes of 64 bytes over one
//! conversation, which has the main thread for itself. For instruction counts, see `docs/design/relay.md`:
//!
//! ```sh
//! cargo build --release --package myagent-relay --example cost
//! valgrind --tool=callgrind --separate-threads=yes target/release/examples/cost 10000
//! ```

use myagent_core::http::Upstream;
use myagent_core::wire::handover::Offer;
use myagent_core::{Clock, ConnectionId};
use myagent_relay::codec::{Opcode, write_frame, write_masked_frame};
use myagent_relay::relay::Config;
use myagent_relay::{Client, Relay, Table};
use myagent_tls::Trust;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::LocalOptions;
use tokio::time::Instant;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const ACCEPTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

fn read_head(stream: &mut TcpStream) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(())
}

/// Both ends of the conversation.
fn exchange(mut client: TcpStream, agents: &TcpListener, count: u32) -> Outcome {
    let (mut agent, _) = agents.accept()?;
    read_head(&mut agent)?;
    agent.write_all(ACCEPTED)?;
    read_head(&mut client)?;
    for stream in [&client, &agent] {
        stream.set_nodelay(true)?;
    }
    let (mut question, mut answer) = (Vec::new(), Vec::new());
    write_masked_frame(&mut question, Opcode::Text, &[b'x'; 64], [1, 2, 3, 4]);
    write_frame(&mut answer, Opcode::Text, &[b'x'; 64]);
    let mut buffer = vec![0; question.len()];
    let began = Instant::now();
    for _ in 0..count {
        client.write_all(&question)?;
        agent.read_exact(&mut buffer[..question.len()])?;
        agent.write_all(&answer)?;
        client.read_exact(&mut buffer[..answer.len()])?;
    }
    let each = began.elapsed() / count.max(1);
    writeln!(std::io::stdout(), "{count} echoes, {each:?} each")?;
    Ok(())
}

fn main() -> Outcome {
    let count = std::env::args().nth(1).map_or(Ok(10_000), |count| count.parse())?;
    let (agents, clients) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let config = Config {
        target: Upstream::Local { addr: agents.local_addr()?, path: "/".to_owned() },
        trust: Trust::system(),
        service: "cost".to_owned(),
        instance: "cost-0".to_owned(),
        slow_client: Duration::from_secs(30),
    };
    myagent_handover::vanish::watch_clients(&clients)?;
    let client = TcpStream::connect(clients.local_addr()?)?;
    let (stream, address) = clients.accept()?;
    stream.set_nonblocking(true)?;
    let offer = Offer {
        connection_id: ConnectionId(uuid::Uuid::from_u128(7)),
        client: address,
        strategy: "round_robin".to_owned(),
        rule: None,
        pool: None,
        head_len: HEAD.len(),
        attempt: 0,
    };
    let both = std::thread::spawn(move || exchange(client, &agents, count));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let table = Table::new(Arc::new(Epoch), Duration::from_secs(30), 0);
        let relay = Relay::new(config, table);
        let client = Client { offer, head: HEAD.to_vec(), rest: Vec::new(), stream };
        let begun = relay.begin(client).await;
        let conversation = begun.map_err(|back| back.detail)?;
        tokio::task::spawn_local(conversation.run()).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    both.join().map_err(|_| "the other thread has panicked")?
}
