//! The task itself, in paused time: it measures by the clock, writes at its end, and a handle can ask.

use super::super::{Collecting, Statistics};
use super::{START, service};
use crate::handle::{Handle, Views};
use jiff::{SignedDuration, Timestamp};
use myagent_core::Clock;
use myagent_core::error::Code;
use myagent_core::series::TimeseriesQuery;
use myagent_store::{SecretKey, Store};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep};

/// Goes as the runtime's time goes.
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        let gone = SignedDuration::try_from(self.0.elapsed()).unwrap();
        Timestamp::from_second(START).unwrap() + gone
    }
}

fn handle(path: &Path, views: watch::Receiver<Arc<Views>>, clock: Arc<dyn Clock>) -> Handle {
    Handle {
        store: Arc::new(Store::in_memory(SecretKey::from_bytes([7; 32])).unwrap()),
        pending: Default::default(),
        storage_problem: watch::channel(None).1,
        peak: watch::channel(Default::default()).1,
        searches: Default::default(),
        dry_runs: Default::default(),
        commands: mpsc::channel(1).0,
        views,
        routing: watch::channel(Arc::default()).1,
        events: broadcast::Sender::new(1),
        log_dir: path.to_owned(),
        connections: Default::default(),
        sessions: Default::default(),
        clients: Default::default(),
        clock,
        statistics: Statistics::new(path.join("metrics.db")),
    }
}

fn query(fields: &[(&str, &str)]) -> TimeseriesQuery {
    let fields: serde_json::Map<_, _> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    serde_json::from_value(fields.into()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_is_measured_every_ten_seconds_and_a_manager_that_follows_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(RuntimeClock(Instant::now()));
    let views = Views::from([("a".to_owned(), Arc::new(service("a", 1, 2)))]);
    let (_views, receiver) = watch::channel(Arc::new(views));
    let up = query(&[("metric", "up"), ("agg", "sum"), ("from", "5m"), ("interval", "10s")]);
    let measured = async |handle: &Handle| {
        let answer = handle.timeseries(up.clone()).await.unwrap();
        assert_eq!(answer.warning, None);
        answer.series[0].points.iter().filter(|(_, value)| *value == Some(2.0)).count()
    };
    let first = handle(dir.path(), receiver.clone(), Arc::clone(&clock));
    let collecting = Collecting::start(&first);
    sleep(Duration::from_secs(125)).await;
    assert_eq!(measured(&first).await, 12);
    collecting.end().await;
    let second = handle(dir.path(), receiver, clock);
    let collecting = Collecting::start(&second);
    sleep(Duration::from_mins(1)).await;
    assert_eq!(measured(&second).await, 18);
    collecting.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_for_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let views = Views::from([
        ("a".to_owned(), Arc::new(service("a", 1, 2))),
        ("my-agent".to_owned(), Arc::new(service("my-agent", 2, 1))),
    ]);
    let (_views, receiver) = watch::channel(Arc::new(views));
    let handle = handle(dir.path(), receiver, Arc::new(RuntimeClock(Instant::now())));
    let check = async |fields: &[(&str, &str)], expected: Result<(), &str>| {
        let fields = [&[("metric", "up")], fields].concat();
        match (handle.timeseries(query(&fields)).await, expected) {
            // Nothing has been opened yet, and it says so.
            (Ok(answer), Ok(())) => assert!(answer.warning.unwrap().contains("not open")),
            (Err(problem), Err(expected)) => assert!(problem.detail.contains(expected), "{problem:?}"),
            (answer, _) => panic!("{fields:?}: {answer:?}"),
        }
    };
    check(&[("service", "a")], Ok(())).await;
    check(&[("service", "my-agent"), ("instance", "my-agent-0")], Ok(())).await;
    check(&[("instance", "my-agent-7")], Ok(())).await;
    check(&[("service", "b")], Err("no service is named \"b\"")).await;
    check(&[("instance", "b-0")], Err("no service is named \"b\"")).await;
    check(&[("instance", "a")], Err("instance: must be a service and a number")).await;
    check(&[("service", "a"), ("instance", "my-agent-0")], Err("instance: is none of a")).await;
    let problem = handle.timeseries(query(&[("agg", "p90"), ("interval", "1")])).await.unwrap_err();
    assert_eq!((problem.code, problem.errors.len()), (Code::InvalidRequest, 2));
}
