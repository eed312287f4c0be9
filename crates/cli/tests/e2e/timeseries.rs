//! Statistics over time, measured by the real manager: what clients said is what the series say, across a killed agent and a killed
//! manager, and the time without a manager is a gap.

use crate::fleet::{PATIENCE, fake, manager};
use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use myagent_testkit::{client, http, wait_for};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use tokio_websockets::Message;

async fn get(api: SocketAddr, path: &str) -> Result<Value> {
    let path = format!("/api/v1/stats/{path}");
    http::request(api, "GET", path.trim_end_matches('/'), None).await?.json()
}

/// Says something so often on one connection, and hears it back.
async fn say(url: &str, times: usize) -> Result<()> {
    let mut client = client::connect(url).await?;
    for number in 0..times {
        client.send(Message::text(number.to_string())).await?;
        let heard = tokio::time::timeout(PATIENCE, client.next()).await?.context("the end")??;
        assert_eq!(heard.as_text(), Some(number.to_string().as_str()));
    }
    Ok(())
}

/// Everything that is in the series of a counter.
async fn sum(api: SocketAddr, metric: &str) -> Option<f64> {
    let path = format!("timeseries?metric={metric}&service=echo&from=10m&interval=10s&agg=sum");
    let answer = get(api, &path).await.ok()?;
    let points = answer["series"][0]["points"].as_array()?;
    Some(points.iter().filter_map(|point| point[1].as_f64()).sum())
}

#[tokio::test]
async fn what_clients_said_is_in_the_series_across_kills() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let api = server.address("api")?;
    let body = json!({"name": "echo", "source": {"kind": "command", "argv": [fake(), "--echo"]}});
    http::request(api, "POST", "/api/v1/services", Some(&body)).await?;
    assert_eq!(http::request(api, "POST", "/api/v1/services/echo/start", None).await?.status, 200);
    let stats =
        async |api| anyhow::Ok(http::request(api, "GET", "/api/v1/services/echo/stats", None).await?.json()?);
    // One that is there for long enough to be reported.
    let held = client::connect(&server.ws_url("/s/echo")?).await?;
    let is_seen = async || {
        let numbers: Value = stats(api).await.ok()?;
        (numbers["peak"]["connections"] == 1).then_some(())
    };
    wait_for(PATIENCE, "the connection to be seen", is_seen).await;
    say(&server.ws_url("/s/echo")?, 30).await?;
    drop(held);
    let first = async || sum(api, "messages_in").await.filter(|sum| *sum >= 30.0);
    let counted = wait_for(PATIENCE, "30 messages in the series", first).await;
    assert!((counted - 30.0).abs() < 1e-9, "{counted}");

    let numbers = stats(api).await?;
    assert_eq!(numbers["recent"]["messages_in"], 30.0);
    assert!(numbers["peak"]["connections"].as_u64() >= Some(1), "{numbers}");
    assert_eq!(get(api, "overview").await?["recent"]["messages_out"], 30.0);
    // It is stored at the next sweep.
    let database = manager.data_dir().join("myagent.db");
    let stored = async || {
        let script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM peaks').fetchone()[0])";
        let output = Command::new("python3").args(["-c", script]).arg(&database).output().ok()?;
        (String::from_utf8_lossy(&output.stdout).trim() == "2").then_some(())
    };
    wait_for(PATIENCE, "the peaks of the service and the fleet to be stored", stored).await;

    // The manager is killed. When the next one measures, there is more.
    drop(server);
    let server = manager.up().await?;
    let api = server.address("api")?;
    let measures = async || {
        let up = get(api, "timeseries?metric=up&service=echo&from=1m&interval=10s").await.ok()?;
        let begin = http::request(api, "GET", "/health", None).await.ok()?.json().ok()?["started_at"].clone();
        let begin: jiff::Timestamp = serde_json::from_value(begin).ok()?;
        let points = up["series"][0]["points"].as_array()?;
        let is_new = |point: &Value| point[1].is_number() && point[0].as_i64() >= Some(begin.as_second());
        points.iter().any(is_new).then_some(())
    };
    wait_for(PATIENCE, "the next manager to measure", measures).await;
    say(&server.ws_url("/s/echo")?, 12).await?;
    let all = async || {
        let numbers: Value = stats(api).await.ok()?;
        ((&numbers["messages_in"], &numbers["messages_out"]) == (&json!(42), &json!(42))).then_some(numbers)
    };
    let numbers = wait_for(PATIENCE, "all of it in the numbers", all).await;
    let rest = async || sum(api, "messages_out").await.filter(|sum| *sum >= 12.0);
    let counted = wait_for(PATIENCE, "the rest in the series", rest).await;
    // Those that were counted between its last note and its end may be missing, none is counted twice.
    assert!(counted <= 42.0, "{counted}");
    for peak in [&numbers["peak"], &get(api, "").await?["peak"]] {
        assert!(peak["connections"].as_u64() >= Some(1), "{peak}");
    }
    let up = get(api, "timeseries?metric=up&group_by=instance&from=5m").await?;
    assert_eq!(
        (&up["series"][0]["service"], &up["series"][0]["instance"]),
        (&json!("echo"), &json!("echo-0"))
    );

    let metrics = get(api, "metrics").await?;
    for metric in metrics["items"].as_array().context("a list")? {
        let name = metric["name"].as_str().context("a name")?;
        for agg in metric["aggregates"].as_array().context("aggregates")? {
            let agg = agg.as_str().context("a word")?;
            let answer = get(api, &format!("timeseries?metric={name}&agg={agg}&group_by=service")).await?;
            assert_eq!((&answer["metric"], &answer["agg"]), (&json!(name), &json!(agg)), "{answer}");
        }
    }
    let wrong =
        http::request(api, "GET", "/api/v1/stats/timeseries?metric=x&agg=y&from=z&interval=0", None).await?;
    let errors = wrong.json()?["errors"].as_array().cloned().unwrap_or_default();
    let fields: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap_or_default()).collect();
    assert_eq!((wrong.status, fields), (400, vec!["metric", "agg", "from", "interval"]));
    Ok(())
}
