//! Reports in, looks out.

use super::*;
use crate::ids::ServiceId;
use crate::routing::PoolKind;
use crate::wire::control::Closed;
use uuid::Uuid;

const WEATHER: ServiceId = ServiceId(Uuid::from_u128(1));
const SUPPORT: ServiceId = ServiceId(Uuid::from_u128(2));

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn key(service_id: ServiceId, index: u32) -> InstanceKey {
    InstanceKey { service_id, index }
}

fn id(number: u128) -> ConnectionId {
    ConnectionId(Uuid::from_u128(number << 64))
}

fn connection(number: u128) -> Connection {
    Connection {
        connection_id: id(number),
        session_id: Some(format!("session-{number}")),
        client: format!("10.0.0.{}:{}", number % 3, 1000 + number % 50_000).parse().unwrap(),
        user_agent: Some(format!("Robot/{}", number % 2)),
        strategy: Some("round_robin".to_owned()),
        rule: number.is_multiple_of(2).then(|| "even".to_owned()),
        pool: Some(if number.is_multiple_of(2) { PoolKind::Rule } else { PoolKind::Default }),
        connected_at: at(number as i64),
        last_activity: at(number as i64),
        messages_in: number as u64,
        messages_out: 1,
        bytes_in: 10,
        bytes_out: 1000 - (number as u64).min(1000),
        moves: 0,
        events: false,
    }
}

fn closed(connection: Connection, moved: bool) -> Closed {
    let (closed_at, reason) = (connection.last_activity, String::new());
    Closed { number: 1, connection, closed_at, code: 1000, reason, moved }
}

fn report(open: impl IntoIterator<Item = Connection>, gone: impl IntoIterator<Item = Closed>) -> Report {
    Report { open: open.into_iter().collect(), closed: gone.into_iter().collect(), ..Report::default() }
}

/// Connections 1 to 6 at `weather-0`, `weather-1`, `support-0` in turn.
fn table() -> Connections {
    let mut table = Connections::default();
    let places = [(WEATHER, 0, "weather-0"), (WEATHER, 1, "weather-1"), (SUPPORT, 0, "support-0")];
    for (number, (service, index, name)) in (1..=6).zip(places.into_iter().cycle()) {
        table.take(key(service, index), name, &mut report([connection(number)], []), at(6));
    }
    table
}

/// The numbers of the page, and its total.
fn numbers(table: &Connections, filter: &Filter, order: &str, page: (usize, usize), now: i64) -> String {
    let page = table.page(filter, Order::parse(order).unwrap(), page, at(now));
    let ids: Vec<_> =
        page.items.iter().map(|view| (view.connection_id.0.as_u128() >> 64).to_string()).collect();
    format!("{} of {}{}", ids.join(" "), page.total, if page.has_more { "+" } else { "" })
}

#[test]
fn pages_filters_and_orders_do_what_they_say() {
    let table = table();
    let all = Filter::default();
    let check = |filter: Filter, expected: &str| {
        assert_eq!(numbers(&table, &filter, "connected_at", (10, 0), 6), expected, "{filter:?}");
    };
    check(all.clone(), "1 2 3 4 5 6 of 6");
    check(Filter { service: Some(WEATHER), ..all.clone() }, "1 2 4 5 of 4");
    check(Filter { instance: Some("weather-1".to_owned()), ..all.clone() }, "2 5 of 2");
    check(Filter { rule: Some("even".to_owned()), service: Some(SUPPORT), ..all.clone() }, "6 of 1");
    check(Filter { client_ip: Some("::ffff:10.0.0.2".parse().unwrap()), ..all.clone() }, "2 5 of 2");
    check(Filter { session_id: Some("session-3".to_owned()), ..all.clone() }, "3 of 1");
    check(Filter { search: Some("ROBOT/1".to_owned()), ..all.clone() }, "1 3 5 of 3");
    check(Filter { search: Some("support".to_owned()), ..all.clone() }, "3 6 of 2");
    check(Filter { status: Some(vec![ConnectionStatus::Idle]), ..all.clone() }, " of 0");
    for (order, page, expected) in [
        ("-connected_at", (2, 0), "6 5 of 6+"),
        ("-connected_at", (2, 2), "4 3 of 6+"),
        ("-connected_at", (2, 4), "2 1 of 6"),
        ("connected_at", (2, 9), " of 6"),
        ("connected_at", (usize::MAX, usize::MAX), " of 6"),
        ("bytes_sent", (10, 0), "6 5 4 3 2 1 of 6"),
        ("-message_count", (1, 0), "6 of 6+"),
        ("instance", (10, 0), "3 6 1 4 2 5 of 6"),
        ("client_ip", (10, 0), "3 6 1 4 2 5 of 6"),
        ("-rule", (3, 0), "2 4 6 of 6+"),
        ("last_activity", (1, 1), "2 of 6+"),
    ] {
        assert_eq!(numbers(&table, &all, order, page, 6), expected, "{order} {page:?}");
    }
    assert!(
        Order::parse("colour")
            .unwrap_err()
            .contains("\"colour\" is not one of connection_id, connected_at, ")
    );
    assert_eq!(Order::parse("-connection_id"), Ok(Order::default()));
}

#[test]
fn a_view_has_what_is_known_and_the_status_follows_the_time() {
    let mut table = table();
    let view = table.get(id(4), at(6)).unwrap();
    assert_eq!((view.instance.as_str(), view.target_service_id), ("weather-0", WEATHER));
    assert_eq!((view.client_ip, view.client_port), ("10.0.0.1".parse().unwrap(), 1004));
    assert_eq!((view.bytes_sent, view.bytes_received, view.message_count), (996, 10, 5));
    assert_eq!((view.rule.as_deref(), view.pool), (Some("even"), Some(PoolKind::Rule)));
    assert_eq!(view.status, ConnectionStatus::Active);
    assert_eq!(table.get(id(4), at(64)).unwrap().status, ConnectionStatus::Idle);
    table.set_closing(id(4));
    // What it says meanwhile does not open it again.
    table.take(key(WEATHER, 0), "weather-0", &mut report([connection(4)], []), at(7));
    assert_eq!(table.get(id(4), at(7)).unwrap().status, ConnectionStatus::Closing);
    let stats = table.stats(at(64));
    assert_eq!(stats.total_connections, 6);
    assert_eq!(
        serde_json::to_value(&stats.by_status).unwrap(),
        serde_json::json!({"active": 2, "idle": 3, "closing": 1})
    );
    assert_eq!((stats.by_service["weather"], stats.by_instance["support-0"]), (4, 2));
    assert_eq!((stats.by_rule["even"], stats.by_rule.len(), stats.by_strategy["round_robin"]), (3, 1, 6));
}

#[test]
fn what_is_closed_or_not_in_a_full_report_is_gone() {
    let mut table = table();
    table.take(key(WEATHER, 0), "weather-0", &mut report([], [closed(connection(1), false)]), at(7));
    assert_eq!((table.get(id(1), at(7)), table.len()), (None, 5));
    // Repeated, and of another one: nothing happens.
    table.take(key(WEATHER, 0), "weather-0", &mut report([], [closed(connection(1), false)]), at(7));
    table.take(key(WEATHER, 0), "weather-0", &mut report([], [closed(connection(2), false)]), at(7));
    assert_eq!(table.len(), 5);
    let mut full = Report { full: true, ..report([connection(5)], []) };
    table.take(key(WEATHER, 1), "weather-1", &mut full, at(7));
    assert_eq!((table.owner(id(2)), table.owner(id(5))), (None, Some(key(WEATHER, 1))));
    assert!(full.open.is_empty());
    table.remove(id(4));
    assert_eq!(table.forget(key(SUPPORT, 0)).len(), 2);
    assert_eq!(table.forget(key(SUPPORT, 0)), []);
    assert_eq!(table.len(), 1);
    table.forget(key(WEATHER, 1));
    assert!(table.is_empty());
}

#[test]
fn a_connection_that_went_on_elsewhere_is_one_whoever_says_so_first() {
    let (old, new) = (key(WEATHER, 0), key(WEATHER, 1));
    let after = || Connection { moves: 1, ..connection(1) };
    let says_goodbye = || report([], [closed(connection(1), true)]);
    let check = |table: &Connections, now| {
        assert_eq!(table.page(&Filter::default(), Order::default(), (10, 0), at(now)).total, 1);
        assert_eq!(table.stats(at(now)).total_connections, 1);
    };
    // The old runner first.
    let mut table = Connections::default();
    table.take(old, "weather-0", &mut report([connection(1)], []), at(1));
    table.take(old, "weather-0", &mut says_goodbye(), at(2));
    check(&table, 3);
    table.take(new, "weather-1", &mut report([after()], []), at(3));
    check(&table, 30);
    assert_eq!(table.owner(id(1)), Some(new));
    // Its record is repeated, it ends, and it was not the owner.
    table.take(old, "weather-0", &mut says_goodbye(), at(20));
    table.forget(old);
    check(&table, 30);

    // The new runner first, and the old one has something late to say.
    let mut table = Connections::default();
    table.take(old, "weather-0", &mut report([connection(1)], []), at(1));
    table.take(new, "weather-1", &mut report([after()], []), at(1));
    table.take(old, "weather-0", &mut report([connection(1)], []), at(2));
    table.take(old, "weather-0", &mut says_goodbye(), at(3));
    check(&table, 30);
    assert_eq!(table.owner(id(1)), Some(new));
    // And back again, in one report with the end of the first time.
    let mut back = report([Connection { moves: 2, ..connection(1) }], [closed(connection(1), true)]);
    table.take(old, "weather-0", &mut back, at(4));
    table.take(new, "weather-1", &mut report([], [closed(after(), true)]), at(5));
    check(&table, 30);
    assert_eq!(table.owner(id(1)), Some(old));

    // The new runner died before it could say anything.
    table.take(
        old,
        "weather-0",
        &mut report([], [closed(Connection { moves: 2, ..connection(1) }, true)]),
        at(40),
    );
    check(&table, 44);
    assert_eq!(table.get(id(1), at(45)), None);
    table.take(new, "weather-1", &mut report([], []), at(46));
    assert!(table.is_empty() && table.moving.is_empty());
}

#[test]
fn ids_are_found_by_a_beginning_that_only_one_has() {
    let table = table();
    let text = id(3).to_string();
    assert_eq!(text, "00000000-0000-0003-0000-000000000000");
    assert_eq!(table.find(&text), Found::One(id(3)));
    assert_eq!(table.find(&text[..18]), Found::One(id(3)));
    assert_eq!(table.find(&text[..17]), Found::Several(6));
    assert_eq!(table.find("000"), Found::Nothing);
    assert_eq!(table.find("0000_"), Found::Nothing);
    assert_eq!(table.find(&id(9).to_string()), Found::Nothing);
}

#[test]
fn many_connections_cost_little() {
    const MANY: u128 = 30_000;
    let mut table = Connections::default();
    let mut full = Report { full: true, ..report((0..MANY).map(connection), []) };
    table.take(key(WEATHER, 0), "weather-0", &mut full, at(1));
    for round in 0..100 {
        let changed = (0..100).map(|number| connection(number * 7 + round));
        table.take(key(WEATHER, 0), "weather-0", &mut report(changed, []), at(1));
    }
    for offset in 0..20 {
        let page = table.page(&Filter::default(), Order::default(), (100, offset * 100), at(1));
        assert_eq!((page.total, page.items.len(), page.has_more), (MANY as usize, 100, true));
    }
    for number in 0..MANY {
        table.take(key(WEATHER, 0), "weather-0", &mut report([], [closed(connection(number), false)]), at(1));
    }
    assert!(table.is_empty());
    // It takes a fraction of a second; anything quadratic would take minutes, and be ended.
}

#[test]
fn pages_behind_an_id_leave_nothing_out_while_others_come_and_go() {
    let mut table = Connections::default();
    let mut full = Report { full: true, ..report((0..100).map(connection), []) };
    table.take(key(WEATHER, 0), "weather-0", &mut full, at(1));
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let filter = Filter { after, ..Filter::default() };
        let page = table.page(&filter, Order::default(), (7, 0), at(1));
        seen.extend(page.items.iter().map(|view| view.connection_id));
        after = page.items.last().map(|view| view.connection_id);
        if !page.has_more {
            break;
        }
        // Newer ones come, and some that were shown go, the last one, too.
        let new = 1_000 + seen.len() as u128;
        let gone = seen.iter().rev().take(2).map(|id| closed(connection(id.0.as_u128() >> 64), false));
        table.take(key(WEATHER, 0), "weather-0", &mut report([connection(new)], gone), at(1));
    }
    let expected: Vec<_> = (0..100).rev().map(id).collect();
    assert_eq!(seen, expected);
}
