//! What is the same for all operations: the problems, the headers of every answer, examples, and parameters that are never null.

use super::examples::examples;
use crate::error::PROBLEM_JSON;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use utoipa::openapi::OpenApi;

/// Problems that any operation may answer with.
const ALWAYS: &[(&str, &str)] = &[
    ("400", "Something in the request is wrong; `errors` names each field."),
    ("403", "The `Host` or `Origin` is not allowed, or the kind of source is not."),
    ("500", "A defect of the manager."),
    ("503", "The manager is ending, or a store or resource is not available now."),
];
/// And those with a body.
const WITH_BODY: &[(&str, &str)] = &[
    ("408", "The body did not come in time."),
    ("413", "The body is larger than 1 MiB."),
    ("415", "The body is not JSON."),
];
/// Problems of single operations.
const MORE: &[(&str, &str)] = &[
    ("404", "There is no such thing."),
    ("409", "It is in the way of something that is there."),
    ("412", "It was changed since: `If-Match` is not its version."),
    ("502", "The agent failed; `detail` has the cause."),
];

/// Completes the document that was made from the endpoints. It is worked on as JSON, whose shape the OpenAPI standard fixes.
pub(super) fn complete(document: OpenApi) -> Value {
    let mut document = match serde_json::to_value(document) {
        Ok(document) => document,
        Err(error) => {
            tracing::error!(%error, "failed to write the OpenAPI document");
            return Value::Null;
        }
    };
    integers(&mut document);
    let examples = examples();
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for (path, item) in paths.into_iter().flatten() {
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            problems(operation, path.contains('{'));
            parameters(operation, path);
            for content in contents(operation) {
                give_example(content, &examples);
            }
        }
    }
    if let Some(components) = document.get_mut("components").and_then(Value::as_object_mut) {
        components.insert("responses".to_owned(), responses());
        let schemas = components.entry("schemas").or_insert_with(|| json!({}));
        schemas["ProblemDocument"] = problem_schema();
    }
    document
}

fn problems(operation: &mut Value, has_subject: bool) {
    let has_body = operation.get("requestBody").is_some();
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    let mut add = |status: &str| {
        let reference = json!({"$ref": format!("#/components/responses/{status}")});
        responses.entry(status).or_insert(reference);
    };
    let with_body = if has_body { WITH_BODY } else { &[] };
    for (status, _) in ALWAYS.iter().chain(with_body) {
        add(status);
    }
    if has_subject {
        add("404");
    }
    // An endpoint names the others by their status alone.
    for (status, response) in responses.iter_mut() {
        if response.get("$ref").is_none() && MORE.iter().any(|(more, _)| more == status) {
            *response = json!({"$ref": format!("#/components/responses/{status}")});
        }
    }
}

fn responses() -> Value {
    let entry = |(status, description): &(&str, &str)| {
        let content = json!({PROBLEM_JSON: {
            "schema": {"$ref": "#/components/schemas/ProblemDocument"},
            "example": example_problem(status),
        }});
        let headers =
            json!({"X-Request-Id": {"schema": {"type": "string"}, "description": "The id of the request."}});
        ((*status).to_owned(), json!({"description": description, "content": content, "headers": headers}))
    };
    Value::Object(ALWAYS.iter().chain(WITH_BODY).chain(MORE).map(entry).collect())
}

fn example_problem(status: &str) -> Value {
    let (title, code, detail) = match status {
        "400" => ("Bad Request", "INVALID_REQUEST", "limit: must be from 1 to 1000"),
        "403" => ("Forbidden", "FORBIDDEN", "pages from \"https://example.org\" may not use this API"),
        "404" => {
            ("Not Found", "SERVICE_NOT_FOUND", "no service is named \"wether\"; did you mean \"weather\"?")
        }
        "409" => (
            "Conflict",
            "SERVICE_ALREADY_EXISTS",
            "a service named \"weather\" exists already; choose another name or update it",
        ),
        "412" => (
            "Precondition Failed",
            "PRECONDITION_FAILED",
            "weather was changed since: it is at version 4, not 3; read it again and repeat the change",
        ),
        "408" => ("Request Timeout", "REQUEST_TIMEOUT", "the body did not come within 30 s"),
        "413" => ("Payload Too Large", "PAYLOAD_TOO_LARGE", "the body is larger than 1048576 bytes"),
        "415" => (
            "Unsupported Media Type",
            "UNSUPPORTED_MEDIA_TYPE",
            "the body must be JSON; send it with Content-Type: application/json",
        ),
        "502" => ("Bad Gateway", "SERVICE_START_FAILED", "weather-0: exit code 1"),
        "503" => ("Service Unavailable", "SHUTTING_DOWN", "the manager is shutting down"),
        _ => ("Internal Server Error", "INTERNAL", "a defect of the manager; its log has more"),
    };
    let mut problem = json!({
        "type": format!("/docs/errors/{code}"), "title": title, "status": status.parse::<u16>().unwrap_or(500), "code": code,
        "detail": detail, "request_id": "0199e0a4-7b7e-7c8e-9d0e-6f6a5f3f0c11",
    });
    if status == "400" {
        problem["errors"] = json!([{"field": "limit", "message": "must be from 1 to 1000"}]);
    }
    problem
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "What went wrong: an RFC 9457 problem.",
        "required": ["type", "title", "status", "code", "detail", "request_id"],
        "properties": {
            "type": {"type": "string", "description": "A page of the manager about the code: `/docs/errors/…`."},
            "title": {"type": "string", "description": "The status in words."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "code": {"$ref": "#/components/schemas/Code"},
            "detail": {"type": "string", "description": "One sentence, with the fix where there is one."},
            "request_id": {"type": "string", "description": "Also in `X-Request-Id`, and in the manager's log."},
            "errors": {
                "type": "array", "description": "Every field at fault.",
                "items": {"$ref": "#/components/schemas/FieldError"},
            },
        },
    })
}

/// Numbers have bounds where they have any; the sizes of Rust's types say nothing to others, and some are not even right.
fn integers(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("int")) {
                map.remove("format");
            }
            map.values_mut().for_each(integers);
        }
        Value::Array(list) => list.iter_mut().for_each(integers),
        _ => {}
    }
}

/// An optional parameter is left out, not null.
fn parameters(operation: &mut Value, path: &str) {
    // The filters of a list are also those of the list of one service, but for the service.
    if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
        let in_path = |name: &Value| name.as_str().is_some_and(|name| path.contains(&format!("{{{name}}}")));
        parameters.retain(|parameter| parameter["in"] != "query" || !in_path(&parameter["name"]));
    }
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(kind) = parameter.pointer_mut("/schema/type") else { continue };
        if let Value::Array(kinds) = kind {
            kinds.retain(|kind| kind != "null");
            if let [only] = kinds.as_slice() {
                *kind = only.clone();
            }
        }
    }
}

/// The contents of requests and answers.
fn contents(operation: &mut Value) -> Vec<&mut Value> {
    let mut found = Vec::new();
    let Some(operation) = operation.as_object_mut() else { return found };
    for (key, part) in operation.iter_mut() {
        let bodies: Vec<&mut Value> = match key.as_str() {
            "requestBody" => vec![part],
            "responses" => part.as_object_mut().into_iter().flat_map(Map::values_mut).collect(),
            _ => continue,
        };
        for body in bodies {
            let content = body.get_mut("content").and_then(Value::as_object_mut);
            found.extend(content.into_iter().flat_map(Map::values_mut));
        }
    }
    found
}

fn give_example(content: &mut Value, examples: &BTreeMap<&str, Value>) {
    let name =
        ["/schema/$ref", "/schema/oneOf/0/$ref"].iter().find_map(|path| content.pointer(path)?.as_str());
    let Some(name) = name else { return };
    let name = name.trim_start_matches("#/components/schemas/").to_owned();
    let example = examples.get(name.as_str()).cloned().or_else(|| {
        // A page of what there is an example of.
        let item = examples.get(name.strip_prefix("Page_")?)?;
        Some(json!({"items": [item], "total": 1, "limit": 100, "offset": 0, "has_more": false}))
    });
    if let (Some(example), Some(content)) = (example, content.as_object_mut()) {
        content.entry("example").or_insert(example);
    }
}
