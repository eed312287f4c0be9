//! The table with a clock that is set and a paused runtime.

use super::*;
use myagent_core::routing::PoolKind;
use std::sync::Mutex;
use tokio::time::advance;

struct FakeClock(Mutex<Timestamp>);

impl FakeClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Timestamp::UNIX_EPOCH)))
    }

    fn set(&self, seconds: i64) {
        *self.0.lock().unwrap() = Timestamp::from_second(seconds).unwrap();
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

fn offer(number: u128) -> Offer {
    Offer {
        connection_id: ConnectionId(uuid::Uuid::from_u128(number)),
        client: "192.0.2.7:5000".parse().unwrap(),
        strategy: "round_robin".to_owned(),
        rule: Some("vip".to_owned()),
        pool: Some(PoolKind::Rule),
        head_len: 0,
        attempt: 0,
    }
}

fn table(max_places: u32) -> (Table, Arc<FakeClock>) {
    let clock = FakeClock::new();
    (Table::new(Arc::clone(&clock) as Arc<dyn Clock>, Duration::from_secs(30), max_places), clock)
}

#[tokio::test(start_paused = true)]
async fn reports_say_what_changed() {
    let (table, clock) = table(0);
    assert!(!table.changed());
    let one = table.open(&offer(1), Some("browser".to_owned()));
    let two = table.open_direct(offer(2).connection_id, offer(2).client, None);
    assert!(table.changed());
    let report = table.report(false);
    assert_eq!((report.open.len(), report.active_connections, report.totals.connections), (2, 2, 2));
    assert!(!table.changed());
    assert!(table.report(false).open.is_empty());

    one.message_in(10);
    one.message_in(20);
    one.message_out(5);
    two.add_bytes_in(3);
    one.set_session("s-1");
    clock.set(60);
    assert!(table.changed());
    let mut report = table.report(false);
    report.open.sort_by_key(|connection| connection.connection_id);
    let connection = &report.open[0];
    assert_eq!((connection.messages_in, connection.bytes_in), (2, 30));
    assert_eq!((connection.messages_out, connection.bytes_out), (1, 5));
    assert_eq!(connection.session_id.as_deref(), Some("s-1"));
    assert_eq!(connection.user_agent.as_deref(), Some("browser"));
    assert_eq!(
        (connection.strategy.as_deref(), connection.rule.as_deref(), connection.pool),
        (Some("round_robin"), Some("vip"), Some(PoolKind::Rule))
    );
    assert_eq!(connection.last_activity, Timestamp::from_second(60).unwrap());
    assert_eq!(report.open[1].bytes_in, 3);
    assert_eq!((&report.open[1].strategy, report.open[1].pool), (&None, None));
    assert_eq!(report.open[1].last_activity, Timestamp::UNIX_EPOCH);
    assert_eq!((report.totals.messages_in, report.totals.bytes_in, report.totals.bytes_out), (2, 33, 5));

    one.message_out(1);
    let report = table.report(false);
    assert_eq!((report.open.len(), report.totals.messages_out), (1, 2));
    assert_eq!(table.report(true).open.len(), 2);
    table.set_sessions(3, 4);
    assert!(table.changed());
    assert_eq!((table.report(false).active_sessions, table.report(false).totals.sessions), (3, 4));
    table.set_sessions(3, 4);
    assert!(!table.changed());
}

#[tokio::test(start_paused = true)]
async fn closed_records_stay_until_acknowledged() {
    let (table, clock) = table(0);
    let one = table.open(&offer(1), None);
    one.message_in(7);
    clock.set(5);
    one.close(1000, "bye");
    drop(table.open(&offer(2), None));
    assert!(table.changed());
    for _ in 0..2 {
        let report = table.report(false);
        assert_eq!((report.closed.len(), report.open.len(), report.active_connections), (2, 0, 0));
        assert_eq!(report.totals.messages_in, 1);
        let closed = &report.closed[0];
        assert_eq!((closed.number, closed.code, closed.reason.as_str()), (1, 1000, "bye"));
        assert_eq!((closed.connection.messages_in, closed.closed_at.as_second()), (1, 5));
        assert_eq!((report.closed[1].number, report.closed[1].code), (2, 1006));
    }
    assert!(!table.changed());
    table.ack_closed(1);
    assert_eq!(table.report(true).closed.len(), 1);
    table.ack_closed(2);
    assert!(table.report(true).closed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn closed_records_are_bounded() {
    let (table, _clock) = table(0);
    for number in 0..MAX_CLOSED + 5 {
        table.open(&offer(number as u128), None).close(1000, "");
    }
    assert_eq!(table.closed_dropped(), 5);
    // Five were never told of, so that it is told who is still there.
    let still_there = table.open(&offer(u128::MAX), None);
    let report = table.report(false);
    assert_eq!((report.closed.len(), report.closed[0].number), (MAX_CLOSED_PER_REPORT, 6));
    assert!(report.full && report.open.len() == 1);
    assert!(table.changed(), "there is more to report");
    assert_eq!(table.unreported_closed(), (MAX_CLOSED - MAX_CLOSED_PER_REPORT) as u64);
    // The next five were told of, but not acknowledged.
    for number in 0..5 {
        table.open(&offer(number), None).close(1000, "");
    }
    assert_eq!(table.closed_dropped(), 10);
    assert!(!table.report(false).full);
    table.ack_closed(u64::MAX);
    assert!(table.report(true).closed.is_empty());
    still_there.close(1000, "");
}

#[tokio::test(start_paused = true)]
async fn places_are_connections_reservations_and_extras() {
    let (table, _clock) = table(3);
    let one = table.open(&offer(1), None);
    let place = table.reserve();
    table.set_extra_places(1);
    assert_eq!(table.places(), 3);
    assert!(table.is_full());
    drop(place);
    assert!(!table.is_full());
    one.close(1000, "");
    assert_eq!(table.places(), 1);
    assert!(!self::table(0).0.is_full());
}

#[tokio::test(start_paused = true)]
async fn busy_is_an_unanswered_message_or_recent_output() {
    let (table, _clock) = table(0);
    let one = table.open(&offer(1), None);
    assert!(!table.busy());
    one.message_in(1);
    table.tick();
    advance(Duration::from_secs(20)).await;
    assert!(table.busy());
    one.message_out(1);
    table.tick();
    advance(Duration::from_secs(20)).await;
    assert!(table.busy(), "there was output within the time");
    advance(Duration::from_secs(20)).await;
    assert!(!table.busy());
    one.message_in(1);
    assert!(table.busy());
    advance(Duration::from_secs(31)).await;
    assert!(!table.busy(), "nobody waits for ever");
    one.message_in(1);
    assert!(table.report(false).busy);
    one.close(1000, "");
    assert!(!table.busy());
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_reaches_the_task() {
    let (table, _clock) = table(0);
    let one = table.open(&offer(1), None);
    let two = table.open(&offer(2), None);
    assert!(!table.disconnect(offer(3).connection_id, 1000, ""));
    let waiting = one.disconnected();
    let asking = async {
        tokio::task::yield_now().await;
        assert!(table.disconnect(offer(1).connection_id, 4000, "be gone"));
        table.close_all(1001, "all out");
    };
    let (answer, ()) = tokio::join!(waiting, asking);
    assert_eq!(answer, (4000, "be gone".to_owned()));
    assert_eq!(one.disconnected().await.0, 4000, "the first request counts");
    assert_eq!(two.disconnected().await, (1001, "all out".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_keeps_nothing_of_its_task() {
    struct Task;
    impl std::task::Wake for Task {
        fn wake(self: Arc<Self>) {}
    }
    let (table, _clock) = table(0);
    let (task, one) = (Arc::new(Task), table.open(&offer(1), None));
    one.message_in(1);
    let waker = Arc::clone(&task).into();
    assert!(one.poll_disconnected(&mut std::task::Context::from_waker(&waker)).is_pending());
    drop(waker);
    assert_eq!(Arc::strong_count(&task), 2);
    one.close(1000, "");
    assert!(table.changed(), "it is still listed for the next report");
    assert_eq!(Arc::strong_count(&task), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_rush_the_room_for_closed_records_is_given_back() {
    let (table, _clock) = table(0);
    for number in 0..MAX_CLOSED {
        table.open(&offer(number as u128), None).close(1000, "");
    }
    assert!(table.inner.closed.borrow().capacity() >= MAX_CLOSED);
    table.ack_closed(u64::MAX);
    assert!(table.inner.closed.borrow().capacity() <= 2 * MAX_CLOSED_PER_REPORT);
}

#[tokio::test(start_paused = true)]
async fn a_rush_of_short_connections_piles_nothing_up_between_two_reports() {
    let (table, _clock) = table(0);
    let stays = table.open(&offer(u128::MAX), None);
    for number in 0..5_000 {
        let one = table.open(&offer(number), None);
        one.message_in(3);
        one.close(1000, "");
    }
    stays.message_in(4);
    let listed = table.inner.touched.borrow().len() + table.inner.changed.borrow().len();
    assert!(listed <= 2 * MAX_CLOSED_LISTED as usize + 2, "{listed}");
    let report = table.report(false);
    assert_eq!((report.open.len(), report.open[0].bytes_in), (1, 4));
    assert_eq!((report.totals.messages_in, report.totals.bytes_in), (5_001, 15_004));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_moves_is_counted_once_and_goes_on_counting() {
    let ((old, clock), (new, _)) = (table(0), table(0));
    clock.set(5);
    let one = old.open(&offer(1), Some("browser".to_owned()));
    one.want_events();
    one.message_in(10);
    let so_far = one.connection();
    one.close_moved(1012, "went on in instance b");
    assert!(old.has_moved(offer(1).connection_id) && !old.is_open(offer(1).connection_id));
    let report = old.report(false);
    assert!(report.closed[0].moved);
    assert_eq!((report.rules["vip"].connections, report.rules["vip"].bytes_in), (1, 10));

    let moved = Moved {
        connection_id: so_far.connection_id,
        client: so_far.client,
        user_agent: so_far.user_agent.clone(),
        strategy: so_far.strategy.clone(),
        rule: so_far.rule.clone(),
        pool: so_far.pool,
        unread: 0,
        so_far: Some(Box::new(so_far.clone())),
        from: None,
        unsent: 0,
        brings: None,
        lost: Vec::new(),
    };
    let went_on = new.open_moved(&moved);
    went_on.message_in(7);
    let report = new.report(false);
    let connection = &report.open[0];
    assert_eq!((connection.messages_in, connection.bytes_in, connection.moves), (2, 17, 1));
    assert_eq!((connection.connected_at, connection.events), (so_far.connected_at, true));
    assert_eq!((connection.rule.as_deref(), connection.pool), (Some("vip"), Some(PoolKind::Rule)));
    // What the other one has counted is not counted again.
    assert_eq!((report.totals.connections, report.totals.messages_in, report.totals.bytes_in), (0, 1, 7));
    assert_eq!((report.rules["vip"].connections, report.rules["vip"].bytes_in), (0, 7));
    // A runner of an earlier version says less.
    let (bare, _clock) = table(0);
    let one = bare.open_moved(&Moved { so_far: None, ..moved });
    assert_eq!((one.connection().moves, bare.report(false).totals.connections), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_rules_amount_to_is_summed_by_name_up_to_a_bound() {
    let (table, _clock) = table(0);
    let names = (0..MAX_RULES + 5).map(|number| format!("rule {number}"));
    for (number, rule) in names.enumerate() {
        let one = table.open(&Offer { rule: Some(rule), ..offer(number as u128) }, None);
        one.message_out(2);
    }
    table.open(&Offer { rule: None, ..offer(0) }, None).message_out(2);
    table.open(&Offer { rule: Some("rule 0".to_owned()), ..offer(1) }, None).message_in(3);
    let report = table.report(false);
    assert_eq!(report.rules.len(), MAX_RULES + 1);
    let first = &report.rules["rule 0"];
    assert_eq!((first.connections, first.messages_in, first.bytes_out), (2, 1, 2));
    assert_eq!((report.rules[OTHER_RULES].connections, report.rules[OTHER_RULES].bytes_out), (5, 10));
    assert_eq!(report.totals.connections, MAX_RULES as u64 + 7);
}

#[tokio::test(start_paused = true)]
async fn only_who_asked_for_events_is_told_and_no_more_than_a_few_wait() {
    let (table, _clock) = table(0);
    let (asked, silent) = (table.open(&offer(1), None), table.open(&offer(2), None));
    asked.want_events();
    let (asked_id, silent_id) = (offer(1).connection_id, offer(2).connection_id);
    assert_eq!(table.notify(None, "\"content\":\"a\""), Some(1));
    assert_eq!(table.notify(Some(asked_id), "\"content\":\"b\""), Some(1));
    assert_eq!(table.notify(Some(silent_id), "\"content\":\"c\""), Some(0));
    assert_eq!(table.notify(Some(offer(3).connection_id), ""), None);
    let expected = format!(
        "{{\"event\":\"management_notification\",\"connection_id\":\"{asked_id}\",\"content\":\"a\"}}"
    );
    assert_eq!(asked.take_notice().as_deref(), Some(expected.as_str()));
    assert!(asked.has_notice() && asked.take_notice().is_some());
    assert!(!asked.has_notice() && asked.take_notice().is_none() && silent.take_notice().is_none());
    let told = (0..100).filter(|_| table.notify(None, "") == Some(1)).count();
    assert!((1..100).contains(&told), "{told}");
    // Who is being closed is told nothing more.
    while asked.take_notice().is_some() {}
    table.disconnect(asked_id, 1000, "");
    assert_eq!((table.notify(None, ""), asked.is_leaving()), (Some(0), true));
}

#[tokio::test(start_paused = true)]
async fn a_report_has_a_bounded_number_of_connections_and_the_next_has_the_others() {
    let (table, _) = table(0);
    let count = MAX_OPEN_PER_REPORT + 3;
    let open: Vec<_> = (0..count).map(|number| table.open(&offer(number as u128), None)).collect();
    assert_eq!(table.report(false).open.len(), MAX_OPEN_PER_REPORT);
    assert!(table.has_more() && table.changed());
    assert_eq!(table.report(false).open.len(), 3);
    assert!(!table.has_more() && table.report(false).open.is_empty());
    assert_eq!(table.report(true).open.len(), count);
    drop(open);
}
