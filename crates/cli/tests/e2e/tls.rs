//! External services over TLS (`wss://`): served like any other, and what is wrong with a certificate is said where one looks.

use crate::fleet::{PATIENCE, instance, manager, number, wait_for_instance};
use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use myagent_testkit::client::connect;
use myagent_testkit::tls::rcgen::date_time_ymd;
use myagent_testkit::tls::{Authority, TlsStream, self_signed, stand_before};
use myagent_testkit::{EventClient, TestManager, fake_agent, wait_for};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_websockets::{CloseCode, Message, ServerBuilder};

/// A manager that trusts an authority.
fn trusting(authority: &Authority) -> Result<TestManager> {
    let mut manager = manager()?;
    let file = manager.work_dir().join("authority.pem");
    authority.write(&file)?;
    manager.set_env("SSL_CERT_FILE", &file.display().to_string());
    Ok(manager)
}

async fn listen() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Registers an endpoint at this port and starts it.
async fn start_external(manager: &TestManager, name: &str, port: u16, options: &[&str]) -> Result<()> {
    let url = format!("wss://localhost:{port}/ws");
    manager.ok(&[&["register", name, "--endpoint", &url], options].concat()).await?;
    manager.ok(&["start", name]).await?;
    Ok(())
}

#[tokio::test]
async fn an_endpoint_over_tls_is_served_like_any_other() -> Result<()> {
    let authority = Authority::new("ours")?;
    let manager = trusting(&authority)?;
    let server = manager.up().await?;
    let ((plain, plain_address), (listener, address)) = (listen().await?, listen().await?);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { drop(fake_agent::serve(plain, fake_agent::Options::default()).await) });
    tasks.spawn(stand_before(listener, authority.acceptor(&["localhost"], |_| {})?, plain_address));
    start_external(&manager, "far", address.port(), &["--set", "health_check_interval=0.2"]).await?;

    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = EventClient::connect(&server.ws_url("/s/far")?).await?;
        assert_eq!(client.headers["x-myagent-instance"], "far-0");
        let session = client.create_session().await?;
        client.turn(&session, "hello").await?;
        clients.push(client);
    }
    // Health is asked over TLS, too.
    let checked = |instance: &serde_json::Value| {
        instance["health"] == "healthy" && instance["last_health_check"].is_string()
    };
    wait_for_instance(&manager, "far", "healthy", checked).await;
    for client in clients {
        client.close().await?;
    }
    wait_for(PATIENCE, "no connection left", async || {
        let status = manager.json(&["status", "far"]).await.unwrap();
        (status["stats"]["active_connections"] == 0 && status["stats"]["connections"] == 5).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_in_the_error_message() -> Result<()> {
    let (ours, theirs) = (Authority::new("ours")?, Authority::new("theirs")?);
    let manager = trusting(&ours)?;
    let _server = manager.up().await?;
    let (plain, plain_address) = listen().await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { drop(fake_agent::serve(plain, fake_agent::Options::default()).await) });
    let old = |params: &mut myagent_testkit::tls::rcgen::CertificateParams| {
        params.not_after = date_time_ymd(2020, 1, 2);
    };
    let cases: [(&str, Option<TlsAcceptor>, &[&str]); 5] = [
        ("stranger", Some(theirs.acceptor(&["localhost"], |_| {})?), &["not trusted here", "SSL_CERT_FILE"]),
        ("itself", Some(self_signed(&["localhost"], |_| {})?.0), &["not trusted here", "SSL_CERT_FILE"]),
        (
            "wrong-name",
            Some(ours.acceptor(&["elsewhere.test"], |_| {})?),
            &["\"localhost\"", "elsewhere.test"],
        ),
        ("expired", Some(ours.acceptor(&["localhost"], old)?), &["expired (2020-01-02", "renew it"]),
        ("plain", None, &["does not speak TLS", "ws://"]),
    ];
    for (name, acceptor, parts) in cases {
        let port = match acceptor {
            None => plain_address.port(),
            Some(acceptor) => {
                let (listener, address) = listen().await?;
                tasks.spawn(stand_before(listener, acceptor, plain_address));
                address.port()
            }
        };
        let url = format!("wss://localhost:{port}/ws");
        let options = ["--set", "start_timeout=1", "--set", "auto_restart=false"];
        manager.ok(&[&["register", name, "--endpoint", &url], &options[..]].concat()).await?;
        let started = manager.cli(&["start", name]).await?;
        assert_eq!(started.status, 1, "{name}: {started}");
        let shown = manager.json(&["status", name]).await?["error_message"].to_string().replace("\\\"", "\"");
        for part in [&["TLS with localhost:"], parts].concat() {
            assert!(shown.contains(part), "{name}: {shown}");
            assert!(started.stderr.contains(part), "{name}: {started}");
        }
    }
    Ok(())
}

/// The next client that speaks TLS (whoever only looks whether the port is open does not).
async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor) -> Result<TlsStream<TcpStream>> {
    timeout(PATIENCE, async {
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            if let Ok(stream) = acceptor.accept(socket).await {
                return Ok(stream);
            }
        }
    })
    .await?
}

/// Resident memory, MiB.
fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

#[tokio::test]
async fn what_ends_or_stops_on_one_side_does_on_the_other() -> Result<()> {
    let authority = Authority::new("ours")?;
    let manager = trusting(&authority)?;
    let server = manager.up().await?;
    let (listener, address) = listen().await?;
    let acceptor = authority.acceptor(&["localhost"], |_| {})?;
    let options = ["--set", "ready=tcp", "--set", "health_check_enabled=false"];
    start_external(&manager, "raw", address.port(), &options).await?;
    let url = server.ws_url("/s/raw")?;
    let runner = number(&instance(&manager, "raw").await?["runner_pid"])?;

    // A close passes with its code and reason, both ways.
    for from_agent in [true, false] {
        let (client, agent) = tokio::join!(connect(&url), async {
            let stream = accept(&listener, &acceptor).await?;
            Ok::<_, anyhow::Error>(ServerBuilder::new().accept(stream).await?.1)
        });
        let (mut client, mut agent) = (client?, agent?);
        let close = Message::close(Some(CloseCode::try_from(4001)?), "enough");
        let heard = if from_agent {
            agent.send(close).await?;
            timeout(PATIENCE, client.next()).await?.context("no close")??
        } else {
            client.send(close).await?;
            timeout(PATIENCE, agent.next()).await?.context("no close")??
        };
        let heard = heard.as_close().map(|(code, reason)| (u16::from(code), reason.to_owned()));
        assert_eq!(heard, Some((4001, "enough".to_owned())));
    }

    // An agent that does not read holds its client back, and nothing piles up between them.
    let (client, agent) = tokio::join!(connect(&url), async {
        let stream = accept(&listener, &acceptor).await?;
        Ok::<_, anyhow::Error>(ServerBuilder::new().accept(stream).await?.1)
    });
    let (mut client, agent) = (client?, agent?);
    let before = resident(runner)?;
    let mut sent = 0_u64;
    while let Ok(done) = timeout(Duration::from_secs(1), client.send(Message::binary(vec![7; 1 << 20]))).await
    {
        done?;
        sent += 1;
        assert!(sent < 512, "all of it went somewhere");
    }
    let after = resident(runner)?;
    assert!(after <= before + 5, "{before} MiB became {after} MiB");
    drop((agent, client));

    // Cut off in the middle of a frame, there is no close frame to send; the client sees the end at once.
    let (client, agent) = tokio::join!(connect(&url), async {
        let mut stream = accept(&listener, &acceptor).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let text = String::from_utf8(head)?;
        let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).context("no key")?;
        let accept = myagent_relay::handshake::accept_key(key);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.write_all(&[0x81, 100, b'x']).await?;
        stream.flush().await?;
        Ok::<_, anyhow::Error>(stream)
    });
    let (mut client, agent) = (client?, agent?);
    drop(agent.into_inner().0);
    let end = timeout(Duration::from_secs(5), client.next()).await?;
    assert!(matches!(end, None | Some(Err(_))), "{end:?}");
    let wait = async || {
        let status = manager.json(&["status", "raw"]).await.unwrap();
        (status["stats"]["active_connections"] == 0).then_some(())
    };
    drop(client);
    wait_for(PATIENCE, "no connection left", wait).await;
    Ok(())
}
