//! The control socket: hellos, requests that cannot be understood, several managers, and managers that do not read.

use crate::common::{Manager, Setup, wait_for};
use myagent_core::ConnectionId;
use myagent_core::wire::control::{Answer, PROTOCOL, ProtocolRange, Request, RunnerLine};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

#[test]
fn another_protocol_is_named_and_refused() {
    let rig = Setup::script("sleep 300").start();
    rig.connect();
    for hello in
        [r#"{"protocol":{"min":98,"max":99},"version":"9","pid":1}"#, r#"{"protocol":"x"}"#, "GET / HTTP/1.1"]
    {
        let mut manager = Manager::over(UnixStream::connect(&rig.spec.paths.control).unwrap());
        manager.send_text(hello);
        assert!(manager.read_text().unwrap().contains("\"protocol\""));
        match manager.read() {
            Some(RunnerLine::Answer { id: 0, answer: Answer::Failed { message } }) => {
                assert!(!hello.contains("98") || message.contains("98 to 99"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(manager.read_text(), None);
    }
    let mut newer = Manager::over(UnixStream::connect(&rig.spec.paths.control).unwrap());
    newer.hello(ProtocolRange { min: PROTOCOL.max, max: PROTOCOL.max + 1 });
    newer.status();
}

#[test]
fn what_is_not_understood_fails_alone() {
    let rig = Setup::script("sleep 300").start();
    let mut manager = rig.connect();
    manager.send_text(r#"{"id":77,"request":{"type":"fly"}}"#);
    assert!(matches!(manager.answer_to(77), Answer::Failed { message } if message.contains("fly")));
    manager.send_text("garbage");
    assert!(matches!(manager.answer_to(0), Answer::Failed { .. }));
    let status = manager.status();
    assert_eq!((status.service_id, status.start_id), (rig.spec.service_id, rig.spec.start_id));
    // A line without an end ends the connection, and only that.
    let mut endless = rig.connect();
    let _ = endless.stream.write_all(&vec![b'x'; 1 << 20]);
    wait_for("its end", || endless.read_text().is_none().then_some(()));
    manager.status();
}

#[test]
fn requests_are_answered() {
    let rig = Setup::script("echo one; echo two; sleep 300").start();
    let mut manager = rig.connect();
    let mut other = rig.connect();
    wait_for("output", || match manager.ask(Request::Logs { tail: 5 }) {
        Answer::Lines { lines } if lines == ["one", "two"] => Some(()),
        _ => None,
    });
    assert_eq!(manager.ask(Request::Logs { tail: 1 }), Answer::Lines { lines: vec!["two".into()] });
    assert_eq!(manager.ask(Request::AckClosed { up_to: 5 }), Answer::Done);
    let connection_id = ConnectionId(uuid::Uuid::new_v4());
    let gone = Request::Disconnect { connection_id, code: 1000, reason: String::new() };
    assert!(matches!(manager.ask(gone), Answer::Failed { .. }));
    let Answer::Report(report) = manager.ask(Request::FullReport) else { panic!() };
    assert!(report.full && report.open.is_empty());
    assert_eq!(manager.ask(Request::Drain { draining: true, window: None }), Answer::Done);
    // The other one is told.
    other.until("draining", |status| status.draining.then_some(()));
    assert_eq!(manager.ask(Request::Drain { draining: false, window: None }), Answer::Done);
    assert!(!other.status().draining || !other.status().draining);
    for path in [&rig.spec.paths.control, &rig.spec.paths.takeover] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    manager.stop(None);
}

#[test]
fn a_manager_that_does_not_read_is_dropped_and_stops_nobody() {
    let rig = Setup::script("yes $(head -c 200 /dev/zero | tr '\\0' x) | head -n 1000; sleep 300").start();
    let mut manager = rig.connect();
    wait_for("output", || match manager.ask(Request::Logs { tail: 1000 }) {
        Answer::Lines { lines } if lines.len() == 1000 => Some(()),
        _ => None,
    });
    let mut lazy = rig.connect();
    let patience = std::time::Duration::from_secs(1);
    lazy.stream.set_write_timeout(Some(patience)).unwrap();
    let request = "{\"id\":1,\"request\":{\"type\":\"logs\",\"tail\":1000}}\n";
    // 200 KB of answer for 50 bytes of question: what it does not read would soon be a gigabyte.
    let mut asked = 0;
    while asked < 5000 && lazy.stream.write_all(request.as_bytes()).is_ok() {
        asked += 1;
    }
    assert!(asked < 5000, "it was never dropped");
    manager.status();
    manager.stop(None);
}
