//! Changing things through the API: versions, keys, whole replacements, what needs a restart, and all that is wrong at once.

use crate::fleet::{fake, manager};
use anyhow::{Context, Result};
use myagent_testkit::http::{self, HttpAnswer};
use serde_json::{Value, json};
use std::net::SocketAddr;

async fn ask(api: SocketAddr, method: &str, path: &str, body: &Value) -> Result<HttpAnswer> {
    http::request(api, method, &format!("/api/v1{path}"), Some(body).filter(|body| !body.is_null())).await
}

/// A request with one more header.
async fn ask_with(
    api: SocketAddr,
    method: &str,
    path: &str,
    header: &str,
    body: &Value,
) -> Result<HttpAnswer> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let text = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         {header}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http::raw(api, &text).await
}

fn agent() -> Value {
    json!({"kind": "command", "argv": [fake()]})
}

#[tokio::test]
async fn a_change_is_made_only_to_what_its_author_has_seen() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let api = server.address("api")?;
    let made = ask(api, "POST", "/services", &json!({"name": "a", "source": agent()})).await?;
    assert_eq!(
        (made.status, made.header("etag"), made.header("location")),
        (201, Some("\"1\""), Some("/api/v1/services/a"))
    );
    let first = json!({"description": "first"});
    let changed = ask_with(api, "PATCH", "/services/a", "If-Match: \"1\"", &first).await?;
    assert_eq!((changed.status, changed.header("etag")), (200, Some("\"2\"")));
    for (method, path, body) in [
        ("PATCH", "/services/a", json!({"description": "second"})),
        ("PUT", "/services/a", json!({"source": agent()})),
        ("PUT", "/services/a/config", json!({"weight": 2})),
        ("DELETE", "/services/a", Value::Null),
    ] {
        let refused = ask_with(api, method, path, "If-Match: \"1\"", &body).await?;
        assert_eq!(
            (refused.status, &refused.json()?["code"]),
            (412, &json!("PRECONDITION_FAILED")),
            "{method} {path}"
        );
    }
    let service = ask(api, "GET", "/services/a", &Value::Null).await?;
    assert_eq!((service.header("etag"), &service.json()?["description"]), (Some("\"2\""), &json!("first")));
    // A rule, likewise.
    ask(api, "POST", "/routing/rules", &json!({"name": "r"})).await?;
    for (version, status) in [(2, 412), (1, 200), (1, 412)] {
        let header = format!("If-Match: \"{version}\"");
        let body = json!({"priority": 5});
        assert_eq!(ask_with(api, "PATCH", "/routing/rules/r", &header, &body).await?.status, status);
    }
    assert_eq!(
        ask_with(api, "DELETE", "/routing/rules/r", "If-Match: \"2\"", &Value::Null).await?.status,
        204
    );
    assert_eq!(ask_with(api, "DELETE", "/services/a", "If-Match: \"2\"", &Value::Null).await?.status, 204);
    Ok(())
}

#[tokio::test]
async fn a_creation_with_a_key_is_made_once_also_across_a_crash() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let api = server.address("api")?;
    let key = "Idempotency-Key: 5f0c";
    let (service, rule) =
        (json!({"name": "a", "source": agent(), "secrets": {"K": "v"}}), json!({"name": "r"}));
    let first = ask_with(api, "POST", "/services", key, &service).await?;
    let again = ask_with(api, "POST", "/services", key, &service).await?;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json()?["service_id"], again.json()?["service_id"]);
    assert_eq!(
        (first.header("idempotent-replayed"), again.header("idempotent-replayed")),
        (None, Some("true"))
    );
    // The key is of services: a rule may have the same.
    assert_eq!(ask_with(api, "POST", "/routing/rules", key, &rule).await?.status, 201);
    drop(server);
    let server = manager.up().await?;
    let api = server.address("api")?;
    assert_eq!(ask_with(api, "POST", "/services", key, &service).await?.status, 201);
    assert_eq!(
        ask_with(api, "POST", "/routing/rules", key, &rule).await?.header("idempotent-replayed"),
        Some("true")
    );
    // Something else with the same key, and the same after it was removed, are mistakes.
    let other = ask_with(api, "POST", "/services", key, &json!({"name": "b", "source": agent()})).await?;
    assert_eq!((other.status, &other.json()?["code"]), (409, &json!("IDEMPOTENCY_KEY_REUSED")));
    assert_eq!(ask(api, "DELETE", "/services/a", &Value::Null).await?.status, 204);
    assert_eq!(ask_with(api, "POST", "/services", key, &service).await?.status, 409);
    assert_eq!(ask(api, "GET", "/services", &Value::Null).await?.json()?["total"], 0);
    Ok(())
}

#[tokio::test]
async fn a_change_says_whether_it_waits_for_a_restart_and_does_it_if_asked() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let api = server.address("api")?;
    let new = json!({"name": "a", "source": agent(), "tags": ["x"], "environment": {"A": "1"}, "secrets": {"K": "v"}});
    ask(api, "POST", "/services", &new).await?;
    assert_eq!(ask(api, "POST", "/services/a/start", &Value::Null).await?.status, 200);
    let patch = async |path: &str, body: Value| ask(api, "PATCH", path, &body).await?.json();
    let before = patch("/services/a", json!({"description": "d", "config": {"weight": 5}})).await?;
    assert_eq!(before["restart_required"], false);
    let waits = patch("/services/a", json!({"environment": {"A": "2"}})).await?;
    assert_eq!(
        (&waits["restart_required"], &waits["instances"][0]["restart_required"]),
        (&json!(true), &json!(true))
    );
    // Something else that does not need one makes no difference to what waits.
    assert_eq!(patch("/services/a", json!({"tags": ["y"]})).await?["restart_required"], true);
    let done = patch("/services/a?restart=true", json!({"description": "e"})).await?;
    assert_eq!((&done["restart_required"], &done["status"]), (&json!(false), &json!("running")));
    assert_ne!(done["instances"][0]["runner_pid"], before["instances"][0]["runner_pid"]);

    // As a whole: what is not given is as if it had never been; the secret stays, since nobody could give it back.
    let body = json!({"source": agent(), "config": {"max_sessions": 7}});
    let whole = ask(api, "PUT", "/services/a?restart=true", &body).await?.json()?;
    assert_eq!(
        (&whole["tags"], &whole["environment"], &whole["secrets"]),
        (&json!([]), &json!({}), &json!(["K"]))
    );
    assert_eq!((&whole["config"]["max_sessions"], &whole["config"]["weight"]), (&json!(7), &json!(1)));
    assert_eq!((&whole["restart_required"], &whole["status"]), (&json!(false), &json!("running")));
    let config = ask(api, "PUT", "/services/a/config", &json!({"weight": 3})).await?.json()?;
    assert_eq!((&config["config"]["max_sessions"], &config["config"]["weight"]), (&json!(0), &json!(3)));
    assert_eq!(config["restart_required"], true);

    let item = ask(api, "POST", "/services/batch", &json!({"action": "delete", "names": ["a", "b"]}))
        .await?
        .json()?;
    assert_eq!(
        (&item["items"][0]["problem"], &item["items"][1]["problem"]["code"]),
        (&Value::Null, &json!("SERVICE_NOT_FOUND"))
    );
    Ok(())
}

#[tokio::test]
async fn everything_at_fault_is_named_at_once() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let api = server.address("api")?;
    let fields = async |method: &str, path: &str, body: Value| -> Result<Vec<String>> {
        let answer = ask(api, method, path, &body).await?;
        assert_eq!(answer.status, 400, "{answer:?}");
        let errors = answer.json()?["errors"].as_array().cloned().unwrap_or_default();
        Ok(errors.iter().map(|error| error["field"].as_str().unwrap_or_default().to_owned()).collect())
    };
    let new = json!({"name": "A b", "source": agent(), "replicas": 0, "config": {"weight": 0, "colour": 1}});
    assert_eq!(
        fields("POST", "/services", new).await?,
        ["config.colour", "config.weight", "name", "replicas"]
    );
    let new = json!({"name": "A b", "source": agent(), "replicas": 0, "port": "x", "colour": 1});
    assert_eq!(fields("POST", "/services", new).await?, ["colour", "port"]);
    let new = json!({"name": "A b", "source": agent(), "replicas": 0});
    assert_eq!(fields("POST", "/services", new).await?, ["name", "replicas"]);
    assert_eq!(
        fields("GET", "/services?limit=x&offset=-1&colour=1", Value::Null).await?,
        ["limit", "offset", "colour"]
    );
    assert_eq!(
        fields("GET", "/services?limit=0&colour=1&offset=-1", Value::Null).await?,
        ["limit", "colour", "offset"]
    );
    assert_eq!(fields("POST", "/connections/0/disconnect", json!({"code": 7, "x": 1})).await?, ["x"]);
    assert_eq!(fields("GET", "/events?limit=1001", Value::Null).await?, ["limit"]);
    let wrong = ask(api, "TRACE", "/services", &Value::Null).await?;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET,HEAD,POST")));
    let about = wrong.json()?["type"].as_str().unwrap_or_default().to_owned();
    let page = http::request(api, "GET", &about, None).await?;
    assert!(page.status == 200 && page.body.contains("What to do: use one of the methods"), "{page:?}");
    let page = http::request(api, "GET", "/docs/", None).await?;
    assert!(page.status == 200 && page.body.contains("swagger-ui"), "{page:?}");
    assert_eq!(http::request(api, "GET", "/docs/none.js", None).await?.status, 404);
    // The console, or the page that says how to make it.
    let page = http::request(api, "GET", "/", None).await?;
    let policy = page.header("content-security-policy").unwrap_or_default();
    assert!(page.status == 200 && page.body.contains("<html"), "{page:?}");
    assert!(policy.contains(&format!(" ws://{};", server.address("proxy")?)), "{policy}");
    assert_eq!(http::request(api, "GET", "/services", None).await?.status, 404);
    let document = http::request(api, "GET", "/openapi.json", None).await?;
    let committed = include_str!("../../../../docs/reference/openapi.json");
    assert!(
        document.body == committed,
        "the document that is served is another one than docs/reference/openapi.json"
    );
    Ok(())
}

#[tokio::test]
async fn the_manager_examines_its_machine_as_the_command_does() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let answer = http::request(server.address("api")?, "GET", "/api/v1/doctor", None).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let diagnosis = answer.json()?;
    let findings = diagnosis["findings"].as_array().context("no findings")?;
    let of = |check: &str| findings.iter().find(|finding| finding["check"] == check);
    let own = of("manager").context("it did not look at the manager")?;
    let message = own["message"].as_str().unwrap_or_default();
    assert!(own["level"] == "ok" && message.contains("answers"), "{own}");
    let said: Value = serde_json::from_str(&manager.cli(&["--format", "json", "doctor"]).await?.stdout)?;
    // How it is may change meanwhile: other tests run on this machine.
    let checks = |findings: &[Value]| -> Vec<Value> {
        findings.iter().map(|finding| finding["check"].clone()).collect()
    };
    assert_eq!(checks(findings), checks(said.as_array().context("no list")?));
    Ok(())
}
