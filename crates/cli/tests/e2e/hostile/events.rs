//! Text frames that are no events, or not those that they should be, and what each is answered with.

use serde_json::json;

/// What comes of a case.
pub(crate) enum Then {
    /// An event of this kind with this `metadata.code`.
    Told(&'static str, &'static str),
    /// The agent got it, and answers with this.
    Answer(String),
    /// Events of these kinds.
    Kinds(&'static [&'static str]),
    /// The connection is closed with this code and a reason with these words in it.
    Closed(u16, &'static str),
}

/// What is sent on a connection, and what comes of it.
pub(crate) struct Case {
    /// For the one who reads a failure.
    pub(crate) name: String,
    /// `$S` is the session of the connection.
    pub(crate) text: String,
    /// The connection has no session.
    pub(crate) bare: bool,
    pub(crate) then: Then,
}

const BAD: Then = Then::Told("system.error", "MALFORMED");
const UNKNOWN: Then = Then::Told("system.error", "UNKNOWN_EVENT");
const INVALID: Then = Then::Told("system.error", "INVALID_EVENT");
const NOT_FOUND: Then = Then::Told("agent.error", "SESSION_NOT_FOUND");
const LOST: Then = Then::Told("error.recovery_failed", "SESSION_NOT_FOUND");
const EMPTY: Then = Then::Told("agent.error", "EMPTY_MESSAGE");
const NO_STEP: Then = Then::Told("agent.error", "UNKNOWN_STEP");
/// Nothing, which is seen by what comes next.
const NOTHING: Then = Then::Kinds(&[]);
const RESTORED: Then = Then::Kinds(&["agent.state_restored", "system.notice"]);
/// The client has seen more than there is: it is told that those numbers are used again.
const BEYOND: Then = Then::Kinds(&["agent.state_restored", "system.notice", "system.notice"]);
const REPLAYED: Then = Then::Kinds(&["agent.state_restored", "agent.session_created", "system.notice"]);

fn case(text: impl Into<String>, then: Then) -> Case {
    let text = text.into();
    let name = text.chars().take(100).collect();
    Case { name, text, bare: false, then }
}

/// On a connection without a session.
fn bare(text: &str, then: Then) -> Case {
    Case { bare: true, ..case(text, then) }
}

fn answer(text: &str) -> Then {
    Then::Answer(text.to_owned())
}

/// A message with this content, JSON.
fn content(content: &str) -> String {
    format!(r#"{{"event":"user.message","session_id":"$S","content":{content}}}"#)
}

/// A message with these fields besides.
fn message_with(fields: &str) -> String {
    format!(r#"{{"event":"user.message","session_id":"$S","content":"x",{fields}}}"#)
}

fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let mut all = not_json();
    all.extend(wrong_types());
    all.extend(sessions());
    all.extend(states_and_acks());
    all.extend(contents());
    all.extend(nesting());
    all.extend(sizes());
    all
}

fn not_json() -> Vec<Case> {
    let broken = [
        "",
        " \n\t ",
        "not json",
        "{",
        "}",
        r#"{"event""#,
        r#"{"event":}"#,
        r#"{"event":"user.message""#,
        r#"{"event":"user.message","session_id":"$S","content":"x",}"#,
        r"{'event':'user.message'}",
        r"{event:1}",
        r#"{"event":"user.cancel"} {"event":"user.cancel"}"#,
        r#"{"event":"user.cancel"}]"#,
        r#"/* a comment */{"event":"user.cancel"}"#,
        "\u{feff}{\"event\":\"user.cancel\"}",
        "\0{\"event\":\"user.cancel\"}",
        "{\"event\":\"user.cancel\"}\0",
        "{\"event\":\"user.cancel\u{2028}",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        // JSON, but no object with a name.
        "null",
        "true",
        "17",
        r#""user.cancel""#,
        "[]",
        r#"["user.create_session"]"#,
        r#"[{"event":"user.cancel"}]"#,
        "{}",
        r#"{"type":"pong"}"#,
        r#"{"Event":"user.cancel"}"#,
        r#"{"event":null,"content":"x"}"#,
        // Values that JSON does not have.
        "{\"event\":\"user.message\",\"content\":\"a\nraw line break\"}",
        "{\"event\":\"user.message\",\"content\":\"a\u{1}raw control\"}",
        r#"{"event":"user.message","content":"\x41"}"#,
        r#"{"event":"user.message","content":"\u12"}"#,
        r#"{"event":"user.message","content":NaN}"#,
        r#"{"event":"user.message","content":Infinity}"#,
        r#"{"event":"user.message","content":01}"#,
        r#"{"event":"user.message","content":1.}"#,
        r#"{"event":"user.message","content":+1}"#,
        r#"{"event":"user.message","content":0x10}"#,
        r#"{"event":"user.message","content":undefined}"#,
        // Half a character where a name belongs.
        r#"{"event":"user.\ud83d"}"#,
        r#"{"event":"user.cancel","session_id":"\ude00"}"#,
        // Said twice: which one counts?
        r#"{"event":"user.cancel","event":"user.cancel"}"#,
        r#"{"event":"user.cancel","session_id":"$S","session_id":"$S"}"#,
        r#"{"event":"user.message","content":"a","content":"b"}"#,
    ];
    broken.into_iter().map(|text| case(text, BAD)).collect()
}

fn wrong_types() -> Vec<Case> {
    let mut all = Vec::new();
    for value in ["5", "true", "[]", "{}", "-1.5e3"] {
        for field in ["event", "type", "session_id", "step_id", "last_event_id"] {
            let name = if field == "event" { "" } else { r#""event":"user.cancel","# };
            all.push(case(format!(r#"{{{name}"{field}":{value}}}"#), BAD));
        }
    }
    for value in [r#""3""#, "-1", "1.5", "1e3", "18446744073709551616", "true", "[1]"] {
        all.push(case(format!(r#"{{"event":"user.reconnect","session_id":"$S","last_seq":{value}}}"#), BAD));
        all.push(case(format!(r#"{{"event":"user.ack","content":{{"last_seq":{value}}}}}"#), INVALID));
    }
    for name in [
        "agent.final_answer",
        "system.connected",
        "plan.created",
        "ping",
        "USER.MESSAGE",
        "",
        " user.message",
    ] {
        all.push(case(json!({"event":name,"session_id":"$S","content":"x"}).to_string(), UNKNOWN));
    }
    all.push(case(r#"{"event":"user.cancel","session_id":null}"#, Then::Kinds(&["agent.interrupted"])));
    all.push(case(r#"{"event":"user.cancel","extra":1,"extra":2}"#, Then::Kinds(&["agent.interrupted"])));
    all.push(bare(r#"{"type":"ping","event":null}"#, Then::Kinds(&["pong"])));
    all
}

fn sessions() -> Vec<Case> {
    let mut all = Vec::new();
    let nobody = ["nope", "7d444840-9dc0-11d1-b245-5ffdce74fad2", "00000000-0000-0000-0000-000000000000"];
    for id in nobody {
        for (name, then) in [
            ("user.message", NOT_FOUND),
            ("user.cancel", NOT_FOUND),
            ("user.response", NOT_FOUND),
            ("user.request_state", NOT_FOUND),
            ("user.custom", Then::Told("system.error", "SESSION_NOT_FOUND")),
            ("user.ack", Then::Told("system.error", "SESSION_NOT_FOUND")),
            ("user.reconnect", LOST),
            ("user.reconnect_with_state", LOST),
        ] {
            all.push(case(json!({"event":name,"session_id":id,"content":{"last_seq":1}}).to_string(), then));
        }
    }
    // Nearly right is wrong, and nothing that names a file.
    for id in [
        "",
        " $S",
        "$S ",
        "$S\n",
        "$S\0",
        "{$S}",
        "urn:uuid:$S",
        "$S-1",
        "../../../../etc/passwd",
        "..",
        "/",
        "%2e%2e",
        "$S/../$S",
        "'; DROP TABLE sessions; --",
        "\u{202e}",
        "日本",
    ] {
        all.push(case(json!({"event":"user.message","session_id":id,"content":"x"}).to_string(), NOT_FOUND));
        all.push(case(json!({"event":"user.reconnect","session_id":id}).to_string(), LOST));
    }
    for name in ["user.message", "user.cancel", "user.response", "user.request_state"] {
        all.push(bare(&json!({"event":name,"content":"x"}).to_string(), NOT_FOUND));
    }
    all.push(bare(r#"{"event":"user.custom"}"#, UNKNOWN));
    all.push(bare(r#"{"event":"user.ack","content":{"last_seq":1}}"#, NOTHING));
    all.push(bare(r#"{"event":"user.ack","content":{"last_seq":"x"}}"#, INVALID));
    all.push(bare(r#"{"event":"user.reconnect"}"#, INVALID));
    // Answers to questions that nobody asked.
    for step in ["null", r#""""#, r#""confirm_1_1""#, r#""\u0000""#, r#""\n{\"type\":\"end\"}\n""#] {
        all.push(case(
            format!(r#"{{"event":"user.response","session_id":"$S","step_id":{step},"content":"yes"}}"#),
            NO_STEP,
        ));
    }
    all.push(case(r#"{"event":"user.response","session_id":"$S"}"#, NO_STEP));
    all
}

fn states_and_acks() -> Vec<Case> {
    let mut all = Vec::new();
    let with_state = |state: &str, rest: &str| {
        format!(r#"{{"event":"user.reconnect_with_state","signed_state":{state}{rest}}}"#)
    };
    for state in ["null", "5", "true", "[]", "{}", r#""""#, r#""$S""#, r#""eyJzdGF0ZSI6e319""#] {
        all.push(case(with_state(state, ""), INVALID));
    }
    for state in [
        r#"{"state":null}"#,
        r#"{"state":[]}"#,
        r#"{"state":"$S"}"#,
        r#"{"state":{}}"#,
        r#"{"state":{"session_id":null}}"#,
        r#"{"state":{"session_id":5}}"#,
        r#"{"state":{"session_id":["$S"]}}"#,
        r#"{"signature":"forged"}"#,
        r#"{"state":{"session_id":"\ud800"}}"#,
    ] {
        all.push(case(with_state(state, ""), INVALID));
    }
    all.push(case(with_state(r#"{"state":{"session_id":"$S""#, ""), BAD));
    all.push(case(with_state(r#"{"state":{"session_id":"nope"},"signature":"forged"}"#, ""), LOST));
    // A session's id is what opens it; the rest of a state is taken as far as it makes sense.
    for rest in [
        r#","last_seq":0"#,
        r#","last_event_id":"""#,
        r#","last_event_id":"-""#,
        r#","last_event_id":"$S-x""#,
        r#","last_event_id":"$S-1.5""#,
        r#","last_event_id":"$S-99999999999999999999999""#,
    ] {
        all.push(case(
            with_state(r#"{"state":{"session_id":"$S","last_seq":-7},"signature":"forged"}"#, rest),
            REPLAYED,
        ));
    }
    for last_seq in ["1", "2", "1000000", "9007199254740993", "18446744073709551614", "18446744073709551615"]
    {
        let then = || if last_seq == "1" { RESTORED } else { BEYOND };
        all.push(case(
            format!(r#"{{"event":"user.reconnect","session_id":"$S","last_seq":{last_seq}}}"#),
            then(),
        ));
        all.push(case(
            with_state(r#"{"state":{"session_id":"$S"}}"#, &format!(r#","last_event_id":"x-{last_seq}""#)),
            then(),
        ));
        all.push(case(
            format!(r#"{{"event":"user.ack","session_id":"$S","content":{{"last_seq":{last_seq}}}}}"#),
            NOTHING,
        ));
        all.push(case(format!(r#"{{"event":"user.ack","last_seq":{last_seq}}}"#), NOTHING));
    }
    all.push(case(r#"{"event":"user.ack","content":{"last_seq":0}}"#, NOTHING));
    for content in [
        "null",
        "[]",
        "5",
        "\"3\"",
        "{}",
        r#"{"last_seq":null}"#,
        r#"{"last_seq":{"a":1}}"#,
        r#"{"last_seq":1e400}"#,
    ] {
        all.push(case(format!(r#"{{"event":"user.ack","content":{content}}}"#), INVALID));
    }
    all
}

/// What the agent gets is exactly what was sent, and nothing of it is taken for a line of ours.
fn contents() -> Vec<Case> {
    let mut all = Vec::new();
    for empty in ["\"\"", "null", "\"   \"", r#""\n\t\r""#, r#""\u0020\u00a0""#, "\"\u{2028}\""] {
        all.push(case(content(empty), EMPTY));
    }
    all.push(case(r#"{"event":"user.message","session_id":"$S"}"#, EMPTY));
    for (sent, got) in [
        ("{}", "{}"),
        ("[]", "[]"),
        ("0", "0"),
        ("false", "false"),
        ("-0.0", "-0.0"),
        (r#""\u0000""#, r#""\u0000""#),
        ("\"\u{7f}\u{85}\u{2028}\u{2029}\u{feff}\u{fffe}\"", r#""\u007f\u0085\u2028\u2029\ufeff\ufffe""#),
        (r#""a\n{\"type\":\"end\"}\nb""#, r#""a\n{\"type\":\"end\"}\nb""#),
        (r#""\ud83d""#, r#""\ud83d""#),
        (r#""\ude00\ud83d""#, r#""\ude00\ud83d""#),
        (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
        ("{\n\"type\"\n:\n\"end\"\n}", r#"{"type":"end"}"#),
        ("[\r\n{\"type\":\"end\"}\r\n,\n\t1\n]", r#"[{"type":"end"},1]"#),
        (r#"{"type":"close","session":1,"turn":1}"#, r#"{"session":1,"turn":1,"type":"close"}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"__proto__":{"x":1},"":0}"#, r#"{"":0,"__proto__":{"x":1}}"#),
        ("1e400", "Infinity"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        (r#""; rm -rf / && $(reboot) `id` %s %n {0} \\""#, r#""; rm -rf / && $(reboot) `id` %s %n {0} \\""#),
    ] {
        all.push(case(content(sent), answer(got)));
    }
    for fields in [
        r#""type":"end""#,
        r#""type":"ping""#,
        r#""turn":1,"session":2,"number":3"#,
        r#""metadata":{"type":"end"}"#,
        "\"metadata\":{\n\"type\":\n\"end\"\n}",
        r#""metadata":"text""#,
        r#""seq":-1,"event_id":5,"timestamp":[],"connection_id":{}"#,
        r#""extra":"\ud800""#,
    ] {
        all.push(case(message_with(fields), answer("\"x\"")));
    }
    all.push(case(
        "{\n\"event\"\n:\n\"user.custom\"\r\n,\n\"type\":\"end\"\n}\n",
        Then::Kinds(&["custom.event"]),
    ));
    all.push(case(r#"{"event":"user.","session_id":"$S"}"#, Then::Kinds(&["custom.event"])));
    all.push(case(r#"{"event":"user.\u0000\n\u2028","session_id":"$S"}"#, Then::Kinds(&["custom.event"])));
    all.push(case(r#"{"event":"user.constructor","content":"\ud800"}"#, Then::Kinds(&["custom.event"])));
    for params in
        ["5", "[]", "\"text\"", "false", "{\n\"type\":\"end\"\n}", r#"{"a":"\ud800\n"}"#, r#""\u0000""#]
    {
        let text = format!(r#"{{"event":"user.create_session","content":{params}}}"#);
        all.push(case(text, Then::Kinds(&["agent.session_created"])));
    }
    all
}

fn nesting() -> Vec<Case> {
    let (most, more, far) = (nested(64), nested(65), nested(200_000));
    let mut all = vec![
        case(content(&most), Then::Answer(most.clone())),
        case(content(&more), BAD),
        case(content(&far), BAD),
        case(content(&"[".repeat(200_000)), BAD),
        case(content(&format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000))), BAD),
        case(content(&format!("{:?}", "[".repeat(1000))), Then::Answer(format!("{:?}", "[".repeat(1000)))),
        case(format!(r#"{{"event":"user.create_session","content":{far}}}"#), BAD),
        case(format!(r#"{{"event":"user.response","session_id":"$S","content":{far}}}"#), BAD),
        case(format!(r#"{{"event":"user.ack","content":{{"last_seq":{far}}}}}"#), BAD),
        case(message_with(&format!(r#""metadata":{far}"#)), BAD),
        case(format!(r#"{{"event":"user.custom","session_id":"$S","deep":{far}}}"#), BAD),
        case(format!(r#"{{"event":"user.custom","session_id":"$S","deep":{most}}}"#), BAD),
        case(format!(r#"{{"event":"user.reconnect_with_state","signed_state":{far}}}"#), INVALID),
        case(format!(r#"{{"event":"user.reconnect_with_state","signed_state":{{"state":{far}}}}}"#), INVALID),
        case(format!(r#"{{"event":{far}}}"#), BAD),
        case(far.clone(), BAD),
        case("[".repeat(1_000_000), BAD),
    ];
    // A field that nobody reads harms nobody, however deep it is.
    all.push(case(
        format!(r#"{{"event":"user.cancel","unknown":{far}}}"#),
        Then::Kinds(&["agent.interrupted"]),
    ));
    all
}

fn sizes() -> Vec<Case> {
    const MOST: usize = 1024 * 1024;
    let long = |count: usize| "x".repeat(count);
    // The session's id is as long wherever it stands for `$S`.
    let around = content("\"\"").len() - 2 + 36;
    let digits = "9".repeat(4301);
    vec![
        case(
            content(&format!("{:?}", long(MOST - around))),
            Then::Answer(format!("{} characters", MOST - around)),
        ),
        case(content(&format!("{:?}", long(MOST - around + 1))), Then::Closed(1009, "message too large")),
        case(long(MOST), BAD),
        case(long(MOST + 1), Then::Closed(1009, "message too large")),
        case(format!(r#"{{"event":"{}"}}"#, long(900_000)), UNKNOWN),
        case(format!(r#"{{"event":"user.{}"}}"#, "\\u0001".repeat(100_000)), Then::Kinds(&["custom.event"])),
        case(format!(r#"{{"event":"agent.{}"}}"#, "\\u0001".repeat(100_000)), UNKNOWN),
        case(format!(r#"{{"event":"user.message","session_id":"{}"}}"#, long(900_000)), NOT_FOUND),
        case(format!(r#"{{"event":"user.reconnect","session_id":"{}"}}"#, "\\\"".repeat(400_000)), LOST),
        case(
            format!(r#"{{"event":"user.response","session_id":"$S","step_id":"{}"}}"#, long(900_000)),
            NO_STEP,
        ),
        case(format!(r#"{{"event":"user.cancel","session_id":"{}"#, long(900_000)), BAD),
        case(format!(r#"{{"event":"user.cancel","last_seq":"{}"}}"#, long(900_000)), BAD),
        case(
            format!(r#"{{"event":"user.cancel","{}":1}}"#, long(900_000)),
            Then::Kinds(&["agent.interrupted"]),
        ),
        case(
            format!(r#"{{"event":"user.cancel"{}}}"#, " ".repeat(900_000)),
            Then::Kinds(&["agent.interrupted"]),
        ),
        // Older Pythons take minutes for the longest number that fits into a message, in which nobody else is served.
        case(content(&digits), BAD),
        case(content(&digits[1..]), Then::Answer(digits[1..].to_owned())),
        case(content(&format!("[0.{digits}]")), BAD),
        case(format!(r#"{{"event":"user.custom","number":-{digits}}}"#), BAD),
        case(format!(r#"{{"event":"user.create_session","content":{digits}}}"#), BAD),
        case(format!(r#"{{"event":"user.response","session_id":"$S","content":{{"a":{digits}}}}}"#), BAD),
        case(content(&"9".repeat(MOST - 200)), BAD),
    ]
}
