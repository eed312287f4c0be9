//! Too much of everything, fast: what each client is told, exactly, and that nothing of it is lost or doubled.

use super::story::{PATH, Story};
use crate::fleet::is_soak;
use crate::wire::{FIN, Got, PING, PONG, Reader, TEXT, Wire, frame};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, interval, timeout};

/// Sessions that one connection may have.
const MAX_SESSIONS: usize = 100;

/// How often each kind of answer has come: the code of an error, else the name.
type Counts = BTreeMap<String, usize>;

async fn count(reader: &mut Reader, frames: usize) -> Result<Counts> {
    let mut counts = Counts::new();
    for at in 0..frames {
        let kind = match reader.next().await.with_context(|| format!("after {at} of {frames}: {counts:?}"))? {
            Got::Event(_, event) => {
                let code = event["metadata"]["code"].as_str();
                code.or(event["event"].as_str()).unwrap_or("pong").to_owned()
            }
            Got::Pong(_) => "frame pong".to_owned(),
            Got::Close(code, reason) => {
                return Err(anyhow::anyhow!("closed {code} {reason} after {counts:?}"));
            }
            Got::End => return Err(anyhow::anyhow!("ended after {counts:?}")),
        };
        *counts.entry(kind).or_default() += 1;
    }
    Ok(counts)
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> Counts {
    expected.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect()
}

/// Twenty thousand pings at once: each has its pong, in order.
pub(super) async fn pings(story: &Story) -> Result<()> {
    const MANY: u32 = 20_000;
    let mut wire = Wire::greeted(story.address, PATH).await?;
    let session = wire.create_session().await?;
    let bytes: Vec<u8> = (0..MANY).flat_map(|number| frame(PING, &number.to_be_bytes())).collect();
    let Wire { reader, writer } = &mut wire;
    let read = async {
        for number in 0..MANY {
            ensure!(
                reader.next().await? == Got::Pong(number.to_be_bytes().to_vec()),
                "pong {number} is missing"
            );
        }
        Ok(())
    };
    tokio::try_join!(writer.send(&bytes), read)?;
    story.still_answers(&mut wire, &session).await
}

/// More sessions than a connection may have: the limit is told, what was made is good.
pub(super) async fn sessions(story: &Story) -> Result<()> {
    let mut wire = Wire::greeted(story.address, PATH).await?;
    let bytes = frame(TEXT, br#"{"event":"user.create_session"}"#).repeat(3 * MAX_SESSIONS);
    wire.send(&bytes).await?;
    let mut ids = Vec::new();
    for _ in 0..3 * MAX_SESSIONS {
        let event = wire.reader.event().await?;
        if event["event"] == "agent.session_created" {
            ids.push(event["session_id"].as_str().context("no id")?.to_owned());
        } else {
            ensure!(event["metadata"]["code"] == "TOO_MANY_SESSIONS", "{event}");
        }
    }
    ensure!(ids.len() == MAX_SESSIONS, "{} sessions", ids.len());
    // Those of another connection count like its own, or there would be no limit at all.
    let mut other = Wire::greeted(story.address, PATH).await?;
    for id in &ids {
        other.text(&json!({"event":"user.reconnect","session_id":id,"last_seq":1}).to_string()).await?;
    }
    let moved = count(&mut other.reader, 2 * MAX_SESSIONS).await?;
    ensure!(moved == counts([("agent.state_restored", MAX_SESSIONS), ("replay", MAX_SESSIONS)]), "{moved:?}");
    let told = count(&mut wire.reader, MAX_SESSIONS).await?;
    ensure!(told == counts([("session_moved", MAX_SESSIONS)]), "{told:?}");
    let one_more = wire.create_session().await?;
    for event in ["user.reconnect", "user.message", "user.cancel"] {
        other.text(&json!({"event":event,"session_id":one_more,"content":"x"}).to_string()).await?;
        let refused = other.reader.event().await?;
        ensure!(refused["metadata"]["code"] == "TOO_MANY_SESSIONS", "{refused}");
    }
    story.still_answers(&mut wire, &one_more).await?;
    story.still_answers(&mut other, &ids[MAX_SESSIONS - 1]).await
}

/// More messages than may wait: each is refused by name, those that were taken are answered.
pub(super) async fn messages(story: &Story) -> Result<()> {
    const MANY: usize = 2000;
    let mut wire = Wire::greeted(story.address, PATH).await?;
    let session = wire.create_session().await?;
    let message = |text: &str| {
        frame(
            TEXT,
            json!({"event":"user.message","session_id":session,"content":text}).to_string().as_bytes(),
        )
    };
    wire.send(&message("wait")).await?;
    wire.expect("agent.thinking").await?;
    wire.send(&message("more").repeat(MANY)).await?;
    let refused = count(&mut wire.reader, MANY - 10).await?;
    ensure!(refused == counts([("BUSY", MANY - 10)]), "{refused:?}");
    wire.text(&json!({"event":"user.release","session_id":session}).to_string()).await?;
    let answered = count(&mut wire.reader, 12).await?;
    ensure!(answered == counts([("custom.event", 1), ("agent.final_answer", 11)]), "{answered:?}");
    // Large ones: what waits has a bound in bytes, too.
    wire.send(&message("wait")).await?;
    wire.expect("agent.thinking").await?;
    wire.send(&message(&"x".repeat(900_000)).repeat(30)).await?;
    let mut waiting = 30;
    while waiting > 10 {
        ensure!(wire.expect("agent.error").await?["metadata"]["code"] == "BUSY");
        waiting -= 1;
    }
    wire.text(&json!({"event":"user.release","session_id":session}).to_string()).await?;
    loop {
        let event = wire.reader.event().await?;
        match event["event"].as_str() {
            Some("agent.error") if event["metadata"]["code"] == "BUSY" => waiting -= 1,
            Some("agent.final_answer") if event["content"] == "900000 characters" => waiting -= 1,
            Some("custom.event" | "agent.final_answer") => {}
            _ => anyhow::bail!("{event}"),
        }
        if waiting == 0 {
            break;
        }
    }
    story.still_answers(&mut wire, &session).await
}

/// Ten thousand events a second for two seconds, of many kinds: each is answered, once.
pub(super) async fn events(story: &Story) -> Result<()> {
    const TICKS: usize = 200;
    const EACH: usize = 100;
    let mut wire = Wire::greeted(story.address, PATH).await?;
    let session = wire.create_session().await?;
    let kinds = [
        "not json".to_owned(),
        json!({"event":"agent.pretend","session_id":session}).to_string(),
        json!({"event":"user.message","session_id":"nope","content":"x"}).to_string(),
        json!({"event":"user.ack","session_id":session,"content":{"last_seq":1}}).to_string(),
        json!({"event":"user.ack","content":{"last_seq":"all"}}).to_string(),
        json!({"event":"user.message","session_id":session,"content":""}).to_string(),
        json!({"event":"user.response","session_id":session,"step_id":"none"}).to_string(),
        json!({"event":"user.message","session_id":"7d444840-9dc0-11d1-b245-5ffdce74fad2","content":"x"})
            .to_string(),
        json!({"event":"user.cancel","session_id":session}).to_string(),
        json!({"type":"ping"}).to_string(),
    ];
    let bytes: Vec<u8> =
        kinds.iter().cycle().take(EACH).flat_map(|text| frame(TEXT, text.as_bytes())).collect();
    let Wire { reader, writer } = &mut wire;
    let start = Instant::now();
    let send = async {
        let mut tick = interval(Duration::from_millis(10));
        for _ in 0..TICKS {
            tick.tick().await;
            writer.send(&bytes).await?;
        }
        Ok(())
    };
    let of_each = TICKS * EACH / kinds.len();
    let ((), found) = tokio::try_join!(send, count(reader, 9 * of_each))?;
    let expected = counts([
        ("MALFORMED", of_each),
        ("UNKNOWN_EVENT", of_each),
        ("SESSION_NOT_FOUND", 2 * of_each),
        ("INVALID_EVENT", of_each),
        ("EMPTY_MESSAGE", of_each),
        ("UNKNOWN_STEP", of_each),
        ("agent.interrupted", of_each),
        ("pong", of_each),
    ]);
    ensure!(found == expected, "{found:?}");
    ensure!(start.elapsed() < Duration::from_secs(20), "{} events took {:?}", TICKS * EACH, start.elapsed());
    story.still_answers(&mut wire, &session).await
}

/// As fast as it goes for a second, with everything read that comes back.
pub(super) async fn flat_out(story: &Story) -> Result<()> {
    let mut wire = Wire::greeted(story.address, PATH).await?;
    let session = wire.create_session().await?;
    let bad = json!({"event":"user.response","session_id":session,"step_id":"none"}).to_string();
    let bytes = frame(TEXT, bad.as_bytes()).repeat(1000);
    let Wire { reader, writer } = &mut wire;
    let end = Instant::now() + Duration::from_secs(1);
    let mut sent = 0;
    let send = async {
        while Instant::now() < end {
            writer.send(&bytes).await?;
            sent += 1000;
        }
        // Behind the last of them.
        writer.send(&frame(PING, b"last")).await
    };
    let receive = async {
        let mut told = 0;
        loop {
            match reader.next().await? {
                Got::Event(_, event) if event["metadata"]["code"] == "UNKNOWN_STEP" => told += 1,
                Got::Pong(_) => return Ok(told),
                other => anyhow::bail!("{other:?}"),
            }
        }
    };
    let ((), told) = tokio::try_join!(send, receive)?;
    ensure!(told == sent, "{sent} were sent and {told} answered");
    story.still_answers(&mut wire, &session).await
}

/// As fast as it goes without reading anything: it is not read from either, and then it is gone.
pub(super) async fn deaf(story: &Story) -> Result<()> {
    let mut wire = Wire::greeted(story.address, PATH).await?;
    wire.create_session().await?;
    let bytes = frame(TEXT, br#"{"event":"agent.pretend"}"#).repeat(1000);
    let endless = async {
        loop {
            wire.writer.send(&bytes).await?;
        }
    };
    let over: Result<Result<()>, _> = timeout(Duration::from_millis(500), endless).await;
    ensure!(over.is_err(), "{over:?}");
    Ok(())
}

/// Connections that stop in the middle of something. They are kept until the end, and cost nobody anything.
pub(super) async fn half_frames(story: &Story) -> Result<Vec<(Wire, String, Vec<u8>)>> {
    let mut open = Vec::new();
    for number in 0..40 {
        let mut wire = Wire::greeted(story.address, PATH).await?;
        let session = wire.create_session().await?;
        let text = json!({"event":"user.message","session_id":session,"content":"at last"}).to_string();
        let whole = match number % 4 {
            0 | 1 => frame(TEXT, text.as_bytes()),
            2 => [frame(TEXT & !FIN, &text.as_bytes()[..20]), frame(FIN, &text.as_bytes()[20..])].concat(),
            _ => frame(TEXT, (text + &" ".repeat(500_000)).as_bytes()),
        };
        let half = [1, 7, 30, 100_000][number % 4].min(whole.len() - 1);
        wire.send(&whole[..half]).await?;
        open.push((wire, session, whole[half..].to_vec()));
    }
    Ok(open)
}

/// What was begun long ago is finished, and answered. In the long run, who does not answer when asked is gone.
pub(super) async fn other_halves(story: &Story, open: Vec<(Wire, String, Vec<u8>)>) -> Result<()> {
    if is_soak() {
        for (mut wire, ..) in open {
            while wire.next().await? != Got::End {}
        }
        return Ok(());
    }
    for (mut wire, session, rest) in open {
        wire.send(&rest).await?;
        let answer = wire.expect("agent.final_answer").await?;
        ensure!(answer["content"] == "\"at last\"", "{answer}");
        story.still_answers(&mut wire, &session).await?;
    }
    Ok(())
}

/// Clients that come, say half a word and go, one after the other.
pub(super) async fn comers_and_goers(story: &Story) -> Result<()> {
    for number in 0..200 {
        let mut wire = Wire::connect(story.address, PATH).await?;
        match number % 4 {
            0 => {}
            1 => wire.text(r#"{"event":"user.create_session"}"#).await?,
            2 => wire.send(&frame(TEXT, b"{\"event\":\"user.create_session\"}")[..9]).await?,
            _ => wire.send(&frame(PONG, b"x")).await?,
        }
    }
    Ok(())
}
