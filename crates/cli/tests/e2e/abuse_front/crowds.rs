//! Very many clients at once: those who never finish their handshake, and those who all come back at the same moment.

use super::{
    Before, GOOD, HELLO, connect, descriptors, echoes, good, nothing_panicked, opened, read_head, rest,
};
use crate::fleet::{
    PATIENCE, Process, fake, instance, manager, number, register, rounds, start_fake, wait_for_state,
};
use anyhow::{Context, Result, bail, ensure};
use myagent_testkit::wait_for;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

/// Addresses from which clients come: one has not enough ports for all of them.
const ADDRESSES: usize = 8;
/// How long somebody who does everything right may wait meanwhile. The test, its clients and the fleet share two cores.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Handshakes that one process of clients begins at the same time.
const AT_A_TIME: usize = 64;
/// What a process may keep of the memory that so many clients needed: an allocator gives back only what lies together.
const GROWTH: u64 = 48 * 1024 * 1024;
/// And of what as many need once more.
const GROWTH_AGAIN: u64 = 4 * 1024 * 1024;
/// How long all of them may take to come back.
const RETURN: Duration = Duration::from_mins(4);

fn address(number: usize) -> String {
    format!("127.0.1.{}", 1 + number % ADDRESSES)
}

/// Somebody who comes again and again, does everything right, and leaves; how long the slowest took, and how many it were.
async fn passers_by(proxy: SocketAddr, mut stop: watch::Receiver<bool>) -> Result<(usize, Duration)> {
    let (mut count, mut slowest) = (0, Duration::ZERO);
    let mut pace = interval(Duration::from_millis(20));
    while !*stop.borrow_and_update() {
        pace.tick().await;
        slowest = slowest.max(good(proxy).await?);
        count += 1;
    }
    Ok((count, slowest))
}

/// Lets this process have as many files open as it may.
fn raise_limit() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Does this many things, a few at a time.
async fn many<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
    count: usize,
    run: impl Fn(usize) -> F,
) -> Result<Vec<T>> {
    let turns = Arc::new(Semaphore::new(AT_A_TIME));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (turns, run) = (Arc::clone(&turns), run(number));
        tasks.spawn(async move {
            let _turn = turns.acquire_owned().await?;
            run.await
        });
    }
    let mut done = Vec::with_capacity(count);
    while let Some(one) = tasks.join_next().await {
        done.push(one??);
    }
    Ok(done)
}

/// So many clients that stop somewhere within their handshake; what became of them.
async fn half_open(proxy: SocketAddr, manager: u32, count: usize) -> Result<String> {
    let began = Instant::now();
    let half = many(count, move |number| async move {
        let mut socket = connect(&address(number), proxy).await?;
        // Each has got to another place; some say nothing at all.
        let part = &GOOD.as_bytes()[..number % (GOOD.len() - 1)];
        socket.write_all(part).await?;
        Ok(socket)
    })
    .await?;
    let (opened_after, most) = (began.elapsed(), descriptors(manager)?.len());
    // Those who are still listened to are told when their time is over, the others were sent away: nobody is left hanging.
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    for mut socket in half {
        tasks.spawn(async move { timeout(PATIENCE, rest(&mut socket)).await });
    }
    while let Some(end) = tasks.join_next().await {
        let answer = end?.context("one was left hanging")?;
        let kind = match answer.as_str() {
            "" => "silence",
            answer if answer.starts_with("HTTP/1.1 408 ") => "408",
            other => bail!("one was told {other}"),
        };
        *ends.entry(kind).or_default() += 1;
    }
    let all = began.elapsed();
    Ok(format!("{count} in {opened_after:?}: {most} descriptors of the manager; {ends:?} after {all:?}"))
}

#[tokio::test]
async fn ten_thousand_half_open_handshakes_keep_nobody_out() -> Result<()> {
    raise_limit()?;
    let manager = manager()?;
    let server = manager.up().await?;
    start_fake(&manager, "echo", &[], &["--echo"]).await?;
    let proxy = server.address("proxy")?;
    good(proxy).await?;
    let before = Before::all(&manager, &server, "echo", 0, 1).await?;
    let (stop, stopped) = watch::channel(false);
    let mut others = JoinSet::new();
    others.spawn(passers_by(proxy, stopped));

    let count = rounds(1_500, 10_000);
    let first = half_open(proxy, server.pid(), count).await?;
    println!("{first}");
    for before in &before {
        println!("{}", before.is_back(GROWTH).await?);
    }
    // What an allocator keeps is kept for the next ones.
    let again = Before::of("manager again", server.pid(), 0)?;
    println!("{}", half_open(proxy, server.pid(), count).await?);
    println!("{}", again.is_back(GROWTH_AGAIN).await?);
    stop.send_replace(true);
    let (served, slowest) = others.join_next().await.context("nobody")???;
    println!("{served} others were served meanwhile, the slowest in {slowest:?}");
    ensure!(served >= 50, "only {served} others came");
    ensure!(slowest <= AT_ONCE, "one of the others waited for {slowest:?}");
    nothing_panicked(&manager, &server)
}

/// A client that comes back until it is served, as it is told to; how often it was told to come again.
async fn come_back(proxy: SocketAddr, from: String) -> Result<(TcpStream, usize)> {
    let mut refusals = 0;
    loop {
        let mut socket = connect(&from, proxy).await?;
        socket.write_all(GOOD.as_bytes()).await?;
        let head = read_head(&mut socket).await?;
        let after = if head.starts_with("HTTP/1.1 101 ") {
            if head.contains("X-MyAgent-Instance: ") {
                socket.write_all(HELLO).await?;
                echoes(&mut socket).await?;
                return Ok((socket, refusals));
            }
            told_when(&rest_bytes(&mut socket).await)?
        } else {
            ensure!(head.starts_with("HTTP/1.1 503 "), "it was told {head}");
            let after = head.lines().find_map(|line| line.strip_prefix("Retry-After: "));
            Duration::from_secs(after.context("not told when")?.parse()?)
        };
        refusals += 1;
        sleep(after).await;
    }
}

async fn rest_bytes(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Broken is as much of an end; what came before it counts.
    let _ = socket.read_to_end(&mut bytes).await;
    bytes
}

/// Reads the one event of a refused client, and the close frame behind it.
fn told_when(frames: &[u8]) -> Result<Duration> {
    let (length, from) = match *frames.get(1).context("ended without an event")? {
        126 => (usize::from(u16::from_be_bytes([frames[2], frames[3]])), 4),
        length => (usize::from(length), 2),
    };
    let event: Value = serde_json::from_slice(frames.get(from..from + length).context("half an event")?)?;
    ensure!(event["event"] == "system.error" && event["metadata"]["code"] == "ROUTING_FAILED", "{event}");
    ensure!(event["metadata"]["recoverable"] == true, "{event}");
    ensure!(frames[from + length..].starts_with(&[0x88]), "no close frame behind {event}");
    Ok(Duration::from_millis(event["metadata"]["retry_after_ms"].as_u64().context("not told when")?))
}

#[tokio::test]
async fn five_thousand_clients_that_come_back_at_once_are_all_served() -> Result<()> {
    raise_limit()?;
    let manager = manager()?;
    let server = manager.up().await?;
    start_fake(&manager, "other", &[], &["--echo"]).await?;
    register(&manager, "echo", &["--set", "restart_delay=0.5"], &[&fake(), "--echo"]).await?;
    manager.ok(&["start", "echo"]).await?;
    let proxy = server.address("proxy")?;
    let others = |name: &str| GOOD.replacen("/s/echo", &format!("/s/{name}"), 1);
    good(proxy).await?;
    // The runner goes with its agent.
    let before = Before::of("manager", server.pid(), 2)?;
    let agent = Process::of(number(&instance(&manager, "echo").await?["pid"])?)?;

    // Of another service, all the time.
    let (stop, mut stopped) = watch::channel(false);
    let mut aside = JoinSet::new();
    let request = others("other");
    aside.spawn(async move {
        let mut socket = connect("127.0.0.1", proxy).await?;
        socket.write_all(request.as_bytes()).await?;
        opened(&mut socket).await?;
        let (mut count, mut slowest) = (0_usize, Duration::ZERO);
        let mut pace = interval(Duration::from_millis(10));
        while !*stopped.borrow_and_update() {
            pace.tick().await;
            let asked = Instant::now();
            socket.write_all(HELLO).await?;
            timeout(PATIENCE, echoes(&mut socket)).await??;
            // And one that comes anew.
            if count.is_multiple_of(10) {
                let mut new = connect("127.0.0.1", proxy).await?;
                new.write_all(request.as_bytes()).await?;
                timeout(PATIENCE, opened(&mut new)).await??;
            }
            slowest = slowest.max(asked.elapsed());
            count += 1;
        }
        anyhow::Ok((count, slowest))
    });

    let count = rounds(500, 5_000);
    let began = Instant::now();
    let clients = many(count, move |number| async move {
        let (socket, _) = come_back(proxy, address(number)).await?;
        Ok((number, socket))
    })
    .await?;
    let came = began.elapsed();
    // They all lose it, and all come back at once.
    let lost = Arc::new(Barrier::new(count));
    let mut storm = JoinSet::new();
    for (number, mut socket) in clients {
        let lost = Arc::clone(&lost);
        storm.spawn(async move {
            let said = rest_bytes(&mut socket).await;
            drop(socket);
            lost.wait().await;
            let back =
                timeout(RETURN, come_back(proxy, address(number))).await.context("it never came back")??;
            anyhow::Ok((said.is_empty(), back, Instant::now()))
        });
    }
    agent.kill();
    let began = Instant::now();
    let (mut last, mut times, mut untold, mut back) = (began, BTreeMap::<usize, usize>::new(), 0, Vec::new());
    while let Some(done) = storm.join_next().await {
        let (was_silent, (socket, refusals), at) = done??;
        untold += usize::from(was_silent);
        *times.entry(refusals).or_default() += 1;
        last = last.max(at);
        back.push(socket);
    }
    stop.send_replace(true);
    let (answers, slowest) = aside.join_next().await.context("nobody")???;
    println!(
        "{count} came in {came:?}; all were back {:?} after the agent was killed; told to come again: {times:?}; \
         {untold} not told why; the other service: {answers} answers, the slowest in {:?}",
        last - began,
        slowest
    );
    ensure!(untold == 0, "{untold} were not told why");
    ensure!(
        answers >= 100 && slowest <= AT_ONCE,
        "{answers} answers of another service, the slowest in {slowest:?}"
    );
    wait_for_state(&manager, "echo", "running").await;
    drop(back);
    let idle = async || (instance(&manager, "echo").await.ok()?["active_connections"] == 0).then_some(());
    wait_for(PATIENCE, "nobody is connected", idle).await;
    println!("{}", before.is_back(GROWTH).await?);
    nothing_panicked(&manager, &server)
}
