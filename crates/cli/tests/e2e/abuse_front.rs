//! Clients that break every rule before their handshake is done: each is refused in clear words or gets nothing, the manager lives
//! and gives back what the case took, and others are served all the while.

mod cases;
mod crowds;

use crate::abuse_relay::bystander;
use crate::fleet::{PATIENCE, Process, instance, manager, number, private_memory, start_fake};
use anyhow::{Context, Result, bail, ensure};
use cases::{Case, GOOD, cases};
use myagent_testkit::manager::Server;
use myagent_testkit::{TestManager, wait_for};
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

/// What any case may take but those that wait for the time limit of a head, which is 10 s.
const CASE: Duration = Duration::from_secs(20);
/// What an exchange of a bystander may take at the most. The test and the fleet share two cores.
const SLOWEST: Duration = Duration::from_secs(2);
/// What a process may have more of its own than before.
const GROWTH: u64 = 8 * 1024 * 1024;
/// A message that is echoed, as a frame.
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";
const ECHO: &[u8] = b"\x81\x05hello";
/// Answers everybody.
const AGENT: &str = "class Agent:\n    def run(self, message):\n        return message\n\nagent = Agent()\n";

/// What the client does once it has sent everything.
#[derive(Clone, Copy, PartialEq)]
enum Leave {
    Stays,
    /// Stays, having sent each byte by itself.
    Slowly,
    /// Closes its side.
    Half,
    /// Breaks the connection.
    Resets,
}

#[derive(Clone, Copy)]
enum Then {
    /// The last answer has this status and these words in it; those before, if any, are good; then the end.
    Told(u16, &'static str),
    /// One answer of the agent, to a plain request.
    Plain,
    /// The end, without a byte.
    Silence,
    /// The end, soon, and whatever is said before.
    Over,
    /// Nobody is there to see it.
    Gone,
    /// It is a WebSocket.
    Opened,
    /// It is a WebSocket that echoes.
    Served,
    /// So many answers of the front door's own before that.
    AfterHealth(usize),
    /// It is a WebSocket that echoes so many bytes that came along with the request.
    Echoed(usize),
}

/// Reads the head of an answer, byte by byte: what comes behind it is not ours yet.
async fn read_head(socket: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(
            socket
                .read_u8()
                .await
                .with_context(|| format!("ended after {:?}", String::from_utf8_lossy(&head)))?,
        );
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Everything up to the end of the stream, or its breaking.
async fn rest(socket: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // Broken is as much of an end; what came before it counts.
    let _ = socket.read_to_end(&mut rest).await;
    String::from_utf8_lossy(&rest).into_owned()
}

async fn opened(socket: &mut TcpStream) -> Result<()> {
    let head = read_head(socket).await?;
    ensure!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Ok(())
}

/// A message comes back.
async fn echoes(socket: &mut TcpStream) -> Result<()> {
    let mut echo = [0; ECHO.len()];
    socket.read_exact(&mut echo).await?;
    ensure!(echo == ECHO, "it got {echo:?}");
    Ok(())
}

async fn connect(from: &str, proxy: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{from}:0").parse()?)?;
    let stream = socket.connect(proxy).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A client that does everything right; how long that took.
async fn good(proxy: SocketAddr) -> Result<Duration> {
    let began = Instant::now();
    let exchange = async {
        let mut socket = connect("127.0.0.1", proxy).await?;
        socket.write_all(GOOD.as_bytes()).await?;
        opened(&mut socket).await?;
        socket.write_all(HELLO).await?;
        echoes(&mut socket).await
    };
    timeout(CASE, exchange).await.context("a good client is not served")?.context("a good client")?;
    Ok(began.elapsed())
}

impl Case {
    async fn check(&self, proxy: SocketAddr) -> Result<()> {
        let mut socket = connect(self.from, proxy).await?;
        if self.leave == Leave::Resets {
            socket.set_zero_linger()?;
        }
        let (mut read, mut write) = socket.split();
        let size = if self.leave == Leave::Slowly { 1 } else { self.bytes.len().max(1) };
        let send = async {
            for part in self.bytes.chunks(size) {
                // Whoever is cut off cannot send the rest.
                if write.write_all(part).await.is_err() {
                    break;
                }
            }
            if self.leave == Leave::Half {
                let _ = write.shutdown().await;
            }
        };
        if let Then::Over | Then::Echoed(_) = self.then {
            // Beside reading: neither may wait for the other.
            let mut got = Vec::new();
            let wanted = if let Then::Echoed(wanted) = self.then { wanted } else { usize::MAX };
            let receive = async {
                while got.len() < wanted && read.read_buf(&mut got).await.unwrap_or_default() > 0 {}
            };
            tokio::join!(send, receive);
            ensure!(wanted == usize::MAX || got.len() >= wanted, "only {} bytes came back", got.len());
            return Ok(());
        }
        send.await;
        let told = |answers: &str, status: u16, words: &str| {
            let last = answers.rfind("HTTP/1.1 ").map_or("", |at| &answers[at..]);
            ensure!(last.starts_with(&format!("HTTP/1.1 {status} ")) && last.contains(words), "{answers:?}");
            Ok(())
        };
        match self.then {
            Then::Told(status, words) => {
                let answers = rest(&mut socket).await;
                let good = answers.matches("HTTP/1.1 200 ").count();
                ensure!(answers.matches("HTTP/1.1 ").count() == good + 1, "{answers:?}");
                told(&answers, status, words)
            }
            Then::Plain => plainly_answered(&mut socket).await,
            Then::Silence => {
                let answer = rest(&mut socket).await;
                ensure!(answer.is_empty(), "{answer:?}");
                Ok(())
            }
            Then::Over | Then::Echoed(_) | Then::Gone => Ok(()),
            Then::Opened => opened(&mut socket).await,
            Then::Served => self.served(&mut socket).await,
            Then::AfterHealth(count) => {
                for _ in 0..count {
                    let head = read_head(&mut socket).await?;
                    ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
                    read_body(&mut socket, &head).await?;
                }
                self.served(&mut socket).await
            }
        }
    }

    async fn served(&self, socket: &mut TcpStream) -> Result<()> {
        opened(socket).await?;
        if self.bytes.ends_with(HELLO) {
            echoes(socket).await?;
        }
        socket.write_all(HELLO).await?;
        echoes(socket).await
    }
}

/// The agent answers, once: what came behind the request's head was its body, or nothing.
async fn plainly_answered(socket: &mut TcpStream) -> Result<()> {
    let head = read_head(socket).await?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
    read_body(socket, &head).await?;
    socket.shutdown().await?;
    let more = rest(socket).await;
    ensure!(more.is_empty(), "{more:?}");
    Ok(())
}

/// The body that belongs to a head.
async fn read_body(socket: &mut TcpStream, head: &str) -> Result<()> {
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.context("no length")?.parse()?];
    socket.read_exact(&mut body).await?;
    Ok(())
}

/// One that begins a head and goes on with it, a byte at a time, without an end: told so, when its time is over.
async fn too_slow(proxy: SocketAddr) -> Result<()> {
    let mut socket = connect("127.0.0.1", proxy).await?;
    socket.write_all(b"GET / HTTP/1.1\r\nX-Pad: ").await?;
    let began = Instant::now();
    let mut pace = interval(Duration::from_millis(200));
    let mut answer = Vec::new();
    loop {
        tokio::select! {
            _ = pace.tick() => drop(socket.write_all(b"p").await),
            read = socket.read_buf(&mut answer) => if read.unwrap_or_default() == 0 { break },
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    ensure!(began.elapsed() > Duration::from_secs(8), "after {:?}", began.elapsed());
    Ok(())
}

/// One that says nothing gets nothing, and does not stay.
async fn silent(proxy: SocketAddr) -> Result<()> {
    let answer = rest(&mut connect("127.0.0.1", proxy).await?).await;
    ensure!(answer.is_empty(), "{answer}");
    Ok(())
}

/// A process and what it has.
struct Before {
    what: String,
    process: Process,
    open: Vec<String>,
    /// How many more it may have.
    spare: usize,
    memory: u64,
}

/// What its descriptors lead to.
fn descriptors(pid: u32) -> Result<Vec<String>> {
    let links = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
    // One that was closed meanwhile is none.
    let links = links.filter_map(|link| Some(fs::read_link(link.path()).ok()?.display().to_string()));
    // These are opened when there is something to write, and stay.
    let own = |link: &String| link.ends_with("/access.log") || link.contains("/metrics.db");
    Ok(links.filter(|link| !own(link)).collect())
}

impl Before {
    /// Each thread of the front door keeps a socket to the runner of each of the services, from the first client on.
    fn of(what: &str, pid: u32, services: usize) -> Result<Self> {
        Ok(Self {
            what: what.to_owned(),
            process: Process::of(pid)?,
            open: descriptors(pid)?,
            spare: services * std::thread::available_parallelism()?.get(),
            memory: private_memory(pid)?,
        })
    }

    /// Manager and runner of this service, once so many are connected.
    async fn all(
        manager: &TestManager,
        server: &Server,
        name: &str,
        open: u64,
        services: usize,
    ) -> Result<Vec<Self>> {
        let idle = async || {
            let now = instance(manager, name).await.ok()?;
            (now["active_connections"].as_u64() == Some(open)).then_some(now)
        };
        let now = wait_for(PATIENCE, &format!("{open} connections of {name}"), idle).await;
        let runner = number(&now["runner_pid"])?;
        Ok(vec![Self::of("manager", server.pid(), services)?, Self::of(name, runner, 1)?])
    }

    /// Nothing is left of what was done to it; what it had, and what it has.
    async fn is_back(&self, growth: u64) -> Result<String> {
        let pid = self.process.pid;
        ensure!(self.process.is_alive(), "{} is gone", self.what);
        let most = self.open.len() + self.spare;
        let few = wait_for(2 * PATIENCE, "few descriptors", async || {
            (descriptors(pid).ok()?.len() <= most).then_some(())
        });
        if timeout(PATIENCE, few).await.is_err() {
            let now = descriptors(pid)?;
            let new: Vec<_> = now.iter().filter(|link| !self.open.contains(link)).collect();
            bail!("{}: {} descriptors became {}: {new:?}", self.what, self.open.len(), now.len());
        }
        let memory = private_memory(pid)?;
        let became = format!("{}: {} KiB became {}", self.what, self.memory / 1024, memory / 1024);
        ensure!(memory <= self.memory + growth, "{became}");
        Ok(became)
    }
}

/// Nobody panicked.
fn nothing_panicked(manager: &TestManager, server: &Server) -> Result<()> {
    let read = |file: &str| fs::read_to_string(manager.data_dir().join(file)).unwrap_or_default();
    for said in [server.said(), read("manager.log"), read("logs/runners.log")] {
        if said.contains("panic") {
            bail!("{said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn whoever_breaks_the_rules_at_the_front_door_is_refused_and_harms_nobody() -> Result<()> {
    let mut manager = manager()?;
    manager.set_env("MYAGENT_TRUSTED_PROXIES", &format!(r#"["{}"]"#, cases::BALANCER));
    manager.set_env("MYAGENT_PROXY_PROTOCOL", "true");
    let server = manager.up().await?;
    start_fake(&manager, "echo", &[], &["--echo", "--http"]).await?;
    fs::write(manager.work_dir().join("file.py"), AGENT)?;
    manager.ok(&["register", "file", "file.py", "--auto-start"]).await?;
    let proxy = server.address("proxy")?;
    // What is made at the first client is no leak.
    good(proxy).await?;
    let (stop, stopped) = watch::channel(false);
    let mut bystanders = JoinSet::new();
    bystanders.spawn(bystander(server.ws_url("/s/echo")?, stopped));
    let before = Before::all(&manager, &server, "echo", 1, 2).await?;

    let mut slow = JoinSet::new();
    slow.spawn(async move { too_slow(proxy).await.context("too slow") });
    slow.spawn(async move { silent(proxy).await.context("silent") });
    let (cases, mut wrong) = (cases(), Vec::new());
    ensure!(cases.len() >= 100, "only {} cases", cases.len());
    for case in &cases {
        match timeout(CASE, case.check(proxy)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => wrong.push(format!("{}: {error:#}", case.name)),
            Err(_) => wrong.push(format!("{}: no end within {CASE:?}", case.name)),
        }
        good(proxy).await.with_context(|| format!("after {}", case.name))?;
    }
    while let Some(done) = slow.join_next().await {
        if let Err(error) = done? {
            wrong.push(format!("{error:#}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), cases.len() + 2, wrong.join("\n"));

    for before in &before {
        before.is_back(GROWTH).await?;
    }
    let now = instance(&manager, "echo").await?;
    ensure!(now["status"] == "running" && now["restart_count"] == 0, "{now:#}");
    stop.send_replace(true);
    while let Some(done) = bystanders.join_next().await {
        let (count, slowest) = done??;
        ensure!(count >= 100, "only {count} messages were answered");
        ensure!(slowest <= SLOWEST, "an answer took {slowest:?}");
    }
    nothing_panicked(&manager, &server)
}
