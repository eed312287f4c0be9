//! Listeners and shutdown, and what is left behind: nothing.

use crate::kit::*;
use myagent_proxy::ProxyConfig;
use std::net::TcpListener;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_closed_listener_refuses_and_others_go_on() {
    let mut runner = FakeRunner::start(1, 0);
    let door = Door::open(ProxyConfig::default(), weather([runner.instance.clone()])).await;
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let second_address = second.local_addr().unwrap();
    let id = door.proxy.open(second).await.unwrap();
    let mut early = TcpStream::connect(second_address).await.unwrap();
    // Accepted once it has said something and been answered; its head is complete only after the close.
    tokio::io::AsyncWriteExt::write_all(&mut early, b"GET / HTTP/1.1\r\n").await.unwrap();
    until_accepted(&early).await;
    within("the close", door.proxy.close(id)).await;
    assert_eq!(
        TcpStream::connect(second_address).await.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    let rest = upgrade("/").replace("GET / HTTP/1.1\r\n", "");
    tokio::io::AsyncWriteExt::write_all(&mut early, rest.as_bytes()).await.unwrap();
    assert_connected(&mut early, &mut runner.next().await.take().await).await;

    let mut client = door.client("/").await;
    assert_connected(&mut client, &mut runner.next().await.take().await).await;
    within("the close", door.proxy.close(door.listener)).await;
    assert!(TcpStream::connect(door.address).await.is_err());
    // The port is free again.
    TcpListener::bind(door.address).unwrap();
}

/// Waits until the other end of a loopback connection is a descriptor of this process and not only in the kernel's queue.
async fn until_accepted(client: &TcpStream) {
    let (from, to) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
    until("it is accepted", || {
        std::fs::read_dir("/proc/self/fd").unwrap().flatten().any(|entry| {
            let number: i32 = entry.file_name().to_str().unwrap().parse().unwrap();
            let Ok(copy) = rustix_dup(number) else { return false };
            let stream = std::net::TcpStream::from(copy);
            stream.local_addr().is_ok_and(|address| address == from)
                && stream.peer_addr().is_ok_and(|address| address == to)
        })
    })
    .await;
}

/// A duplicate of one of our descriptors by number, through /proc so that no raw descriptor is borrowed.
fn rustix_dup(number: i32) -> std::io::Result<std::os::fd::OwnedFd> {
    let pid = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())?;
    Ok(rustix::process::pidfd_getfd(pid, number, rustix::process::PidfdGetfdFlags::empty())?)
}

#[tokio::test]
async fn a_shutdown_refuses_those_who_wait_and_frees_everything() {
    let runner = FakeRunner::start(1, 0);
    let before = open_descriptors();
    let config = ProxyConfig { queue_timeout: Duration::from_hours(1), ..ProxyConfig::default() };
    let door = Door::open(config, weather([starting(&runner.instance)])).await;
    let shut_down = async {
        until("it waits", || door.proxy.waiting() == 1).await;
        door.proxy.shut_down(Duration::from_millis(50)).await;
    };
    let ((_, code, reason), ()) = tokio::join!(door.refusal("/"), shut_down);
    assert_eq!((code, reason.as_str()), (1013, "the manager is shutting down"));
    assert!(TcpStream::connect(door.address).await.is_err());
    // Once more, and opening a listener then, do no harm.
    within("the second shutdown", door.proxy.shut_down(Duration::from_millis(50))).await;
    assert!(door.proxy.open(TcpListener::bind("127.0.0.1:0").unwrap()).await.is_err());
    drop(door);
    until("all descriptors are closed", || open_descriptors() <= before).await;
}

#[tokio::test]
async fn a_dropped_proxy_ends_its_threads() {
    let before = open_descriptors();
    let door = Door::open(ProxyConfig { threads: 3, ..ProxyConfig::default() }, weather([])).await;
    assert!(open_descriptors() > before);
    drop(door);
    until("all descriptors are closed", || open_descriptors() <= before).await;
}

#[tokio::test]
async fn a_thousand_connections_leave_no_descriptor() {
    let instances = [FakeRunner::start(1, 0).take_all(), FakeRunner::start(1, 1).take_all()];
    let door = Door::open(ProxyConfig { threads: 2, ..ProxyConfig::default() }, weather(instances)).await;
    let visit = async || {
        let mut client = door.client("/").await;
        within("the end", client.read(&mut [0; 8])).await.unwrap();
    };
    // Both threads have their channels after these.
    for _ in 0..50 {
        visit().await;
    }
    let before = open_descriptors();
    for _ in 0..250 {
        tokio::join!(visit(), visit(), visit(), visit());
    }
    until("all descriptors are closed", || open_descriptors() <= before + 6).await;
}
