//! `api.md`: every operation of the API, from the OpenAPI document.

use super::{MADE, code, head, row};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn page() -> String {
    let document: Value = serde_json::from_str(&myagent_api::openapi_json()).unwrap_or_default();
    let mut by_tag: BTreeMap<String, String> = BTreeMap::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let tag = operation["tags"][0].as_str().unwrap_or_default().to_owned();
            *by_tag.entry(tag).or_default() += &section(&method.to_uppercase(), path, operation);
        }
    }
    let mut page = format!(
        "{MADE}\n\n# The HTTP API\n\n\
         Every operation, from [openapi.json](openapi.json), which has the shapes of bodies and answers and an example of each; a manager \
         shows it at `/docs`. How things are done with it is in [the guide](../api.md).\n"
    );
    for (tag, operations) in by_tag {
        page.extend([format!("\n## {tag}\n{operations}")]);
    }
    page
}

fn section(method: &str, path: &str, operation: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().replace('\n', " ");
    let mut section = format!("\n### {method} {path}\n\n{}", text(&operation["summary"]));
    let description = text(&operation["description"]);
    if !description.is_empty() {
        section.extend([format!("\n\n{description}")]);
    }
    section.push('\n');
    if let Some(body) = schema_of(&operation["requestBody"]) {
        section.extend([format!("\nBody: {}.\n", code(&body))]);
    }
    let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
    if !parameters.is_empty() {
        section.push('\n');
        section += &head(["parameter", "in", "takes", "meaning"]);
        for parameter in parameters {
            let place = text(&parameter["in"]);
            section += &row([
                &code(&text(&parameter["name"])),
                &place,
                &takes(&parameter["schema"]),
                &text(&parameter["description"]),
            ]);
        }
    }
    let answers = operation["responses"].as_object().into_iter().flatten().map(|(status, answer)| {
        let schema = schema_of(answer);
        schema.map_or_else(|| status.clone(), |schema| format!("{status} {}", code(&schema)))
    });
    section + &format!("\nAnswers: {}.\n", answers.collect::<Vec<_>>().join(", "))
}

/// The name of the schema of a body.
fn schema_of(body: &Value) -> Option<String> {
    let schema = body.pointer("/content/application~1json/schema")?;
    let reference = schema.get("$ref").or_else(|| schema.pointer("/oneOf/0/$ref"))?;
    Some(reference.as_str()?.trim_start_matches("#/components/schemas/").to_owned())
}

/// What a parameter takes, in a few words.
fn takes(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    }
    let kind = schema["format"].as_str().or_else(|| schema["type"].as_str()).unwrap_or("text");
    match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
        (Some(min), Some(max)) => format!("{kind} from {min} to {max}"),
        _ => kind.to_owned(),
    }
}
