//! The whole contract of an agent file, as a table: what may be an agent, which kinds of methods and functions answer, with
//! and without the context, in all three ways of defining one.

use crate::rig::{Rig, run};
use myagent_core::config::ServiceConfig;
use serde_json::{Value, json};

/// The ways to answer: a head, `(self, m)` or `(self, m, ctx)` to be put in, and a body that answers with `a-b`. Methods
/// have names; of a function only the kind counts.
const WAYS: &[(&str, &str, &str, usize)] = &[
    ("astream", "async def", "yield 'a-'; await asyncio.sleep(0); yield m", 2),
    ("stream", "def", "yield 'a-'; yield m", 2),
    ("arun", "async def", "await asyncio.sleep(0); return 'a-' + m", 0),
    ("run", "def", "return 'a-' + m", 0),
];

/// Loads it and says `b`: how it is called, whether it gets a context, whether each session has its own, the number of
/// pieces, and the answer.
fn check(source: &str, name: &str, context: bool, per_session: bool, pieces: usize) {
    run(async {
        let mut rig = Rig::new(ServiceConfig::default()).await;
        rig.write(&format!("import asyncio, functools\n{source}\n"));
        let ready = rig.start().await.unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(
            (ready.name.as_str(), ready.context, ready.per_session),
            (name, context, per_session),
            "{source}"
        );
        let mut client = rig.client().await;
        let session = client.session().await;
        for turn in 0..2 {
            client.say(&session, "b").await;
            let mut events = client.until("agent.final_answer").await;
            if context {
                let seen = events.remove(0);
                assert_eq!(
                    (&seen["event"], &seen["content"]),
                    (&json!("custom.seen"), &json!(2 * turn)),
                    "{source}"
                );
            }
            let answer = events.pop().unwrap();
            assert_eq!((&answer["content"], events.len()), (&json!("a-b"), pieces), "{source}: {events:?}");
            assert!(events.iter().all(|event| event["event"] == "agent.partial_answer"), "{events:?}");
        }
    });
}

/// All ways, with and without the context, defined in this way. `as_function`: the agent is the function itself.
fn check_all(define: &str, per_session: bool, as_function: bool) {
    for (name, head, body, pieces) in WAYS {
        for context in [false, true] {
            let emit = if context { "ctx.emit('custom.seen', len(ctx.history)); " } else { "" };
            let more = if context { ", ctx" } else { "" };
            let (agent, name) = if as_function {
                (format!("{head} answers(m{more}):\n    {emit}{body}\nmade = answers"), "answers")
            } else {
                (
                    format!(
                        "class Made:\n    {head} {name}(self, m{more}):\n        {emit}{body}\nmade = Made()"
                    ),
                    "Made",
                )
            };
            check(&format!("{agent}\n{define}"), name, context, per_session, *pieces);
        }
    }
}

#[test]
fn an_object_that_all_sessions_share() {
    check_all("agent = made", false, false);
}

#[test]
fn an_object_of_a_factory() {
    check_all("def agent_factory(): return made", false, false);
}

#[test]
fn an_object_for_each_session() {
    check_all("async def create_agent(): return made", true, false);
}

#[test]
fn a_function_that_all_sessions_share() {
    check_all("agent = made", false, true);
}

#[test]
fn a_function_of_a_factory() {
    check_all("def agent_factory(): return made", false, true);
}

#[test]
fn a_function_for_each_session() {
    check_all("def create_agent(params): return made", true, true);
}

#[test]
fn what_else_is_a_function() {
    check("agent = lambda m: 'a-' + m", "agent", false, false, 0);
    check("agent = lambda m, stream=True: 'a-' + m", "agent", false, false, 0);
    check(
        "async def f(prefix, m): return prefix + m\nagent = functools.partial(f, 'a-')",
        "f",
        false,
        false,
        0,
    );
    check(
        "class Callable:\n    async def __call__(self, m): return 'a-' + m\nagent = Callable()",
        "Callable",
        false,
        false,
        0,
    );
    check("def agent(m): return 'a-' + m\nagent.name = 'named'", "named", false, false, 0);
    check("class A:\n    def stream(self, m): return ['a-', m]\nagent = A", "A", false, false, 2);
    check(
        "class A:\n    async def astream(self, m): return ('a-', m)\nagent_factory = lambda: A",
        "A",
        false,
        false,
        2,
    );
}

#[test]
fn what_cannot_be_called_with_a_message_is_told_at_once() {
    for (source, expected) in [
        ("def agent(): return 'x'", "agent() cannot be called with a message"),
        ("class A:\n    def run(self): return 'x'\nagent = A()", "run() cannot be called with a message"),
        ("class A:\n    def run(self, m, ctx, more): return 'x'\nagent = A()", "run() cannot be called"),
        ("agent = 'text'", "and is no function"),
    ] {
        run(async {
            let mut rig = Rig::new(ServiceConfig::default()).await;
            rig.write(source);
            let error = rig.start().await.unwrap_err().to_string();
            assert!(error.contains(expected), "{source}: {error}");
        });
    }
}

#[test]
fn what_raises_where_it_may_not_harms_nobody_else() {
    let source = "
import sys
class Bad(Exception):
    def __str__(self): raise ValueError('not even that')
class A:
    async def arun(self, text, ctx):
        if text == 'unspeakable': raise Bad()
        return text
    async def on_event(self, event, ctx): sys.exit(4)
    async def export_state(self): sys.exit(5)
    def import_state(self, state): pass
async def create_agent(params):
    if params.get('exit'): sys.exit(3)
    return A()
";
    crate::rig::with_agent(source, async |rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        client.say(&session, "unspeakable").await;
        assert_eq!(client.expect("agent.error").await["content"], "Bad");
        assert_eq!(client.ask(&session, "an answer without a state").await, "an answer without a state");
        client.send(json!({"event":"user.exit","session_id":session})).await;
        assert_eq!(client.expect("agent.error").await["content"], "SystemExit: 4");
        client.send(json!({"event":"user.create_session","content":{"exit":true}})).await;
        let error = client.expect("agent.error").await;
        assert_eq!(error["metadata"]["code"], "SESSION_FAILED", "{error}");
        assert_eq!(client.ask(&session, "still there").await, "still there");
    });
}

#[test]
fn questions_outside_of_turns_do_not_get_each_others_answers() {
    let source = "
class A:
    async def arun(self, text, ctx): return text
    async def on_event(self, event, ctx):
        answer = await ctx.confirm(event['content'])
        ctx.emit('custom.answered', event['content'] + ' ' + answer)
agent = A()
";
    crate::rig::with_agent(source, async |rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        let mut steps = Vec::new();
        for content in ["first", "second"] {
            client.send(json!({"event":"user.question","session_id":session,"content":content})).await;
            let asked = client.expect("agent.user_confirm").await;
            assert_eq!(asked["content"], content);
            steps.push(asked["step_id"].clone());
        }
        for (step, answer) in steps.into_iter().zip(["yes", "no"]) {
            client
                .send(json!({"event":"user.response","session_id":session,"step_id":step,"content":answer}))
                .await;
            let answered = client.expect("custom.answered").await["content"].clone();
            let expected = if answer == "yes" { "first yes" } else { "second no" };
            assert_eq!(answered, Value::from(expected));
        }
    });
}

#[test]
fn the_context_has_what_the_message_had_besides_its_content() {
    let source = "
import json
class A:
    async def arun(self, text, ctx): return json.dumps(ctx.metadata)
agent = A()
";
    crate::rig::with_agent(source, async |rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        assert_eq!(client.ask(&session, "nothing").await, "null");
        let metadata = json!({"locale":"fr","files":[1, {"name":"a\nb"}]});
        client
            .send(json!({"event":"user.message","session_id":session,"content":"x","metadata":metadata}))
            .await;
        let seen: Value = serde_json::from_str(&client.answer().await).unwrap();
        assert_eq!(seen, metadata);
    });
}

#[test]
fn what_the_agent_answers_itself_is_in_its_history() {
    let source = "
class A:
    async def arun(self, text, ctx):
        if text == 'history':
            ctx.history.clear()
            return ' '.join(str(entry['content']) for entry in ctx.history)
        ctx.emit('agent.final_answer', 'mine')
agent = A()
";
    crate::rig::with_agent(source, async |mut rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        assert_eq!(client.ask(&session, "hi").await, "mine");
        assert_eq!(client.ask(&session, "history").await, "hi mine");
        rig.kill();
        rig.start().await.unwrap();
        client.say(&session, "history").await;
        let answer = client.until("agent.final_answer").await.pop().unwrap();
        assert_eq!(answer["content"], "hi mine history hi mine", "and the host keeps the same");
    });
}
