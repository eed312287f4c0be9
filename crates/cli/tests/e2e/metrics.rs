//! `/metrics` of a real manager: `promtool` finds nothing to complain about, and a real Prometheus that scrapes it says the
//! same numbers as our own API. `make setup` installs the two.
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use crate::fleet::{PATIENCE, manager};
use anyhow::{Context, Result, ensure};
use myagent_testkit::http::{self, HttpAnswer};
use myagent_testkit::{EventClient, TestManager, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const AGENT: &str = r#"
class Agent:
    async def astream(self, message):
        if message == "fail":
            raise ValueError("asked to fail")
        yield "it is so"

agent = Agent()
"#;

async fn scrape(api: SocketAddr) -> Result<HttpAnswer> {
    let answer = http::request(api, "GET", "/metrics", None).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer)
}

/// The page for somebody who prefers OpenMetrics, through the manager's own socket.
async fn scrape_unix(manager: &TestManager) -> Result<String> {
    let about: Value = serde_json::from_slice(&std::fs::read(manager.data_dir().join("manager.json"))?)?;
    let mut stream = UnixStream::connect(about["socket"].as_str().context("a socket")?).await?;
    let request = "GET /metrics HTTP/1.1\r\nHost: manager\r\nConnection: close\r\nAccept: \
                   application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The sum of all series of a metric whose labels contain this text.
fn sum(page: &str, metric: &str, label: &str) -> f64 {
    let lines = page.lines().filter_map(|line| line.strip_prefix(metric)?.rsplit_once(' '));
    let ours =
        lines.filter(|(labels, _)| (labels.is_empty() || labels.starts_with('{')) && labels.contains(label));
    ours.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
}

/// What is found on the `PATH`.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// What `promtool` says about a page; nothing if it is as it should be.
async fn complaints(page: String) -> Result<String> {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let done = tokio::task::spawn_blocking(move || -> Result<_> {
        let mut child = command.spawn()?;
        // Closed when this is done: the end of the page.
        child.stdin.take().context("a pipe")?.write_all(page.as_bytes())?;
        Ok(child.wait_with_output()?)
    });
    let done = done.await??;
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(done.status.success() || !said.is_empty(), "promtool: {}", done.status);
    Ok(said)
}

/// A Prometheus of our own; it ends with this.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// One that scrapes `api` each second, and has begun to serve.
    async fn start(folder: &Path, api: SocketAddr) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let config = folder.join("prometheus.yml");
        std::fs::write(
            &config,
            format!(
                "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: myagent\n  honor_labels: true\n  \
                 static_configs:\n  - targets: ['{api}']\n"
            ),
        )?;
        for _ in 0..5 {
            // It cannot be asked for the port that it got, so it gets one that is free now; somebody may be quicker.
            let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            let log = std::fs::File::create(folder.join("log"))?;
            let child = Command::new("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()?;
            let mut started = Self { child, address };
            let is_ready = wait_for(PATIENCE, "Prometheus is ready, or has ended", async || {
                if started.child.try_wait().ok()?.is_some() {
                    return Some(false);
                }
                let answer = http::request(address, "GET", "/-/ready", None).await.ok()?;
                (answer.status == 200).then_some(true)
            });
            if is_ready.await {
                return Ok(started);
            }
        }
        anyhow::bail!("{}", std::fs::read_to_string(folder.join("log"))?)
    }

    /// The values of a query by the label `instance`.
    async fn query(&self, query: &str) -> Result<BTreeMap<String, f64>> {
        let target = format!("/api/v1/query?query={query}");
        let answer = http::request(self.address, "GET", &target, None).await?.json()?;
        let results = answer["data"]["result"].as_array().with_context(|| answer.to_string())?;
        let one = |result: &Value| {
            let instance = result["metric"]["instance"].as_str().unwrap_or_default().to_owned();
            Some((instance, result["value"][1].as_str()?.parse().ok()?))
        };
        Ok(results.iter().filter_map(one).collect())
    }

    /// Waits until a query has this one value.
    async fn says(&self, query: &str, expected: f64) {
        let what = format!("{query} is {expected}");
        wait_for(PATIENCE, &what, async || {
            let values = self.query(query).await.ok()?;
            (values.into_values().collect::<Vec<_>>() == [expected]).then_some(())
        })
        .await;
    }
}

/// Two conversations with two clients that stay; five turns, one of which fails.
async fn converse(url: &str) -> Result<[EventClient; 2]> {
    let mut clients = [EventClient::connect(url).await?, EventClient::connect(url).await?];
    for client in &mut clients {
        let session = client.create_session().await?;
        client.turn(&session, "hello").await?;
        client.turn(&session, "hello again").await?;
    }
    let session = clients[0].create_session().await?;
    clients[0].message(&session, "fail").await?;
    clients[0].next_named("agent.error").await?;
    Ok(clients)
}

/// Waits until what runners report once a second is in our own numbers; returns those.
async fn settled(manager: &TestManager) -> Value {
    wait_for(PATIENCE, "five turns are counted", async || {
        let stats = manager.json(&["stats"]).await.ok()?;
        let turns = &stats["session_totals"]["turns"];
        let is_there = turns["completed"] == 4 && turns["failed"] == 1 && stats["active_connections"] == 2;
        is_there.then_some(stats)
    })
    .await
}

#[tokio::test]
async fn prometheus_reads_the_metrics_and_says_what_our_own_api_says() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    std::fs::write(manager.work_dir().join("talk.py"), AGENT)?;
    manager.ok(&["register", "talk", "talk.py", "--replicas", "2", "--auto-start"]).await?;
    let clients = converse(&server.ws_url("/s/talk")?).await?;
    // Nobody serves this one, and this is no request.
    let proxy = server.address("proxy")?;
    ensure!(http::request(proxy, "GET", "/s/nobody/x", None).await?.status == 503);
    ensure!(http::raw(proxy, "NONSENSE\r\n\r\n").await?.status == 400);
    let stats = settled(&manager).await;
    let number = |name: &str| stats["totals"][name].as_f64().context("a number");

    let api = server.address("api")?;
    let answer = scrape(api).await?;
    ensure!(answer.header("content-type") == Some("text/plain; version=0.0.4; charset=utf-8"), "{answer:?}");
    let page = answer.body;
    assert_eq!(sum(&page, "myagent_instance_up", ""), 2.0, "{page}");
    assert_eq!(sum(&page, "myagent_instance_active_connections", "talk-1"), 1.0, "{page}");
    assert_eq!(sum(&page, "myagent_instance_received_messages_total", ""), number("messages_in")?, "{page}");
    assert_eq!(sum(&page, "myagent_instance_sent_bytes_total", ""), number("bytes_out")?, "{page}");
    assert_eq!(sum(&page, "myagent_turns_ended_total", "outcome=\"completed\""), 4.0, "{page}");
    assert_eq!(sum(&page, "myagent_turns_ended_total", "cause=\"agent_error\""), 1.0, "{page}");
    assert_eq!(sum(&page, "myagent_turn_duration_seconds_count", ""), 4.0, "{page}");
    assert_eq!(sum(&page, "myagent_open_connections", ""), 2.0, "{page}");
    assert_eq!(sum(&page, "myagent_front_door_accepted_total", ""), 4.0, "{page}");
    assert_eq!(sum(&page, "myagent_front_door_handed_over_total", ""), 2.0, "{page}");
    assert_eq!(sum(&page, "myagent_front_door_hand_over_seconds_count", ""), 2.0, "{page}");
    assert_eq!(sum(&page, "myagent_front_door_turned_away_total", "no_instance"), 1.0, "{page}");
    assert_eq!(sum(&page, "myagent_front_door_turned_away_total", "bad_request"), 1.0, "{page}");
    assert_eq!(sum(&page, "myagent_front_door_turned_away_total", ""), 2.0, "{page}");
    assert!(sum(&page, "process_resident_memory_bytes", "") > 1e6, "{page}");
    let series = |label: &str| page.lines().filter(|line| line.contains(label)).count();
    assert!((10..100).contains(&series("instance=\"talk-0\"")), "{page}");
    assert!(!page.contains("127.0.0.1"), "{page}");
    // This was counted after it was made; the next one shows it.
    let again = scrape(api).await?.body;
    assert!(sum(&again, "myagent_api_requests_total", "route=\"/metrics\"") >= 1.0, "{again}");

    let unix = scrape_unix(&manager).await?;
    ensure!(
        unix.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{unix}"
    );
    ensure!(unix.contains("# TYPE myagent_build info\n") && unix.trim_end().ends_with("# EOF"), "{unix}");

    for program in ["promtool", "prometheus"] {
        ensure!(is_installed(program), "{program} is missing: run make setup");
    }
    assert_eq!(complaints(page).await?, "");
    let prometheus = Prometheus::start(&manager.work_dir().join("prometheus"), api).await?;
    prometheus.says("up", 1.0).await;
    prometheus.says("sum(myagent_instance_received_messages_total)", number("messages_in")?).await;
    prometheus.says("sum(myagent_instance_sent_messages_total)", number("messages_out")?).await;
    prometheus.says("sum(myagent_instance_active_connections)", 2.0).await;
    prometheus.says("sum(myagent_turns_ended_total)", 5.0).await;
    prometheus.says("myagent_turn_duration_seconds_count", 4.0).await;
    let by_instance = prometheus.query("myagent_instance_up").await?;
    assert_eq!(by_instance, [("talk-0".to_owned(), 1.0), ("talk-1".to_owned(), 1.0)].into());
    // One leaves: both know it.
    let [leaves, _stays] = clients;
    leaves.close().await?;
    prometheus.says("sum(myagent_instance_active_connections)", 1.0).await;
    assert_eq!(manager.json(&["stats"]).await?["active_connections"], 1);
    Ok(())
}
