//! Bodies that are read field by field, so that every one at fault is named, and therefore have no type that their schema could
//! come from. A test holds each against what is really read.

use myagent_core::config::ServiceConfig;
use myagent_core::routing::rule::{MAX_CONDITIONS, MAX_PARTS, MAX_PRIORITY, MAX_TARGETS, MAX_WEIGHT};
use myagent_core::routing::{Condition, Share, Strategy, TagMatch};
use myagent_core::service::{MAX_NAME, MAX_REPLICAS, Source};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use utoipa::openapi::{Object, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// `POST /api/v1/services`.
pub(crate) struct NewServiceBody;
/// `PUT /api/v1/services/{service}`.
pub(crate) struct ServiceBody;
/// `PATCH /api/v1/services/{service}`.
pub(crate) struct ChangesBody;
/// `POST` and `PUT` of rules.
pub(crate) struct RuleBody;
/// `POST /api/v1/routing/rules/dry-run`.
pub(crate) struct DryRunBody;
/// `PATCH /api/v1/routing/rules/{rule}`.
pub(crate) struct RuleChangesBody;

macro_rules! body {
    ($name:ident, $called:literal, $json:expr, [$($part:ty),*]) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                read($json)
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($called)
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $(
                    schemas.push((<$part as ToSchema>::name().into_owned(), <$part as PartialSchema>::schema()));
                    <$part as ToSchema>::schemas(schemas);
                )*
            }
        }
    };
}

body!(NewServiceBody, "NewService", new_service(), [Source, ServiceConfig]);
body!(ServiceBody, "ServiceReplacement", replacement(), [Source, ServiceConfig]);
body!(ChangesBody, "ServiceChanges", changes(), [Source, ServiceConfig]);
body!(RuleBody, "NewRule", rule(true), [Condition, Share, Strategy, TagMatch]);
body!(DryRunBody, "DryRunRequest", dry_run(), [RuleBody]);
body!(RuleChangesBody, "RuleChanges", rule(false), [Condition, Share, Strategy, TagMatch]);

fn read(json: Value) -> RefOr<Schema> {
    serde_json::from_value(json).unwrap_or_else(|error| {
        tracing::error!(%error, "a schema cannot be read");
        Object::new().into()
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn object(description: &str, properties: &Map<String, Value>, required: &[&str]) -> Value {
    json!({
        "type": "object", "description": description, "properties": properties, "required": required,
        "additionalProperties": false,
    })
}

fn properties(json: Value) -> Map<String, Value> {
    match json {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What can be given of any service.
fn options() -> Map<String, Value> {
    let texts = |description: &str| json!({"type": "object", "description": description, "additionalProperties": {"type": ["string", "null"]}});
    let mut options = properties(json!({
        "description": {"type": ["string", "null"], "maxLength": 1000, "description": "For people."},
        "host": {
            "type": ["string", "null"], "description": "Address that its instances listen on: an IP address or localhost.",
            "default": "127.0.0.1",
        },
        "port": {
            "type": ["integer", "null"], "minimum": 0, "maximum": 65535,
            "description": "Fixed port, only with one replica; 0 or nothing: the first free one.",
        },
        "tags": {
            "type": ["array", "null"], "items": {"type": "string", "minLength": 1, "maxLength": 64},
            "description": "For routing and filters: at most 64, without spaces and commas.",
        },
        "environment": texts("Variables of its processes; null removes one."),
        "secrets": texts("Variables that are stored encrypted and shown nowhere; null removes one."),
        "replicas": {
            "type": ["integer", "null"], "minimum": 1, "maximum": MAX_REPLICAS, "default": 1, "description": "How many copies.",
        },
        "config": reference("ServiceConfig"),
    }));
    // The prototype's names of settings, at the top level.
    if let RefOr::T(Schema::Object(config)) = ServiceConfig::schema() {
        for name in myagent_core::request::FLAT_CONFIG {
            if let Some(schema) =
                config.properties.get(*name).and_then(|schema| serde_json::to_value(schema).ok())
            {
                options.insert((*name).to_owned(), schema);
            }
        }
    }
    options
}

fn name() -> Value {
    json!({
        "type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$", "maxLength": MAX_NAME, "minLength": 1,
        "description": "Lower-case letters, digits, - and _.",
    })
}

fn new_service() -> Value {
    let mut all = properties(json!({"name": name(), "source": reference("Source")}));
    all.append(&mut options());
    all.insert(
        "auto_start".to_owned(),
        json!({"type": "boolean", "default": false, "description": "Start it now, and whenever the manager starts."}),
    );
    all.insert(
        "agent_factory_path".to_owned(),
        json!({"type": "string", "description": "In place of `source`: an agent file.", "deprecated": true}),
    );
    object("A service to register; `source` says what it runs.", &all, &["name"])
}

fn replacement() -> Value {
    let mut all = properties(json!({"name": name(), "source": reference("Source")}));
    all.append(&mut options());
    all.insert(
        "agent_factory_path".to_owned(),
        json!({"type": "string", "description": "In place of `source`: an agent file.", "deprecated": true}),
    );
    object(
        "What a service should be: what is not given gets its default. Secrets stay if none are given; null keeps the value of one. \
         The name cannot be changed.",
        &all,
        &[],
    )
}

fn changes() -> Value {
    let mut all = properties(json!({"source": reference("Source")}));
    all.append(&mut options());
    object("What is to be changed of a service; the rest stays.", &all, &[])
}

fn rule(whole: bool) -> Value {
    let strategy = |description: &str| json!({"oneOf": [{"type": "null"}, reference("Strategy")], "description": description});
    let names = |description: &str, most: usize| json!({"type": ["array", "null"], "items": {"type": "string"}, "maxItems": most, "description": description});
    let weight = json!({
        "oneOf": [
            {"type": "null"},
            {"type": "integer", "minimum": 1, "maximum": MAX_WEIGHT},
            {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1, "maximum": MAX_WEIGHT}},
        ],
        "description": "One weight for all targets, or one for each service.",
    });
    let all = properties(json!({
        "name": {"type": "string", "minLength": 1, "maxLength": 100, "description": "For people; no other rule has it."},
        "description": {"type": ["string", "null"], "maxLength": 1000, "description": "For people."},
        "priority": {
            "type": ["integer", "null"], "minimum": -MAX_PRIORITY, "maximum": MAX_PRIORITY, "default": 100,
            "description": "Lower is tried first.",
        },
        "enabled": {"type": ["boolean", "null"], "default": true, "description": "Whether it is tried at all."},
        "conditions": {
            "type": ["array", "null"], "items": reference("Condition"), "maxItems": MAX_CONDITIONS,
            "description": "All must hold; none: every client matches.",
        },
        "target_services": names("Its clients go to these services, by name or id; none: to any.", MAX_TARGETS),
        "target_tags": names("And only to services with these tags.", 64),
        "tag_match": {
            "oneOf": [{"type": "null"}, reference("TagMatch")], "description": "Whether a service needs all of the tags or any.",
        },
        "target_strategy": strategy("How one is chosen; none: the default strategy."),
        "fallback_strategy": strategy("How, if that strategy has no answer."),
        "split": {
            "type": ["array", "null"], "items": reference("Share"), "maxItems": MAX_PARTS,
            "description": "Shares of the clients; the percents add up to 100.",
        },
        "hash_key": {"type": ["string", "null"], "description": "The field that tells clients apart; none: client_ip."},
        "weight": weight,
        "allow_hint": {
            "type": ["boolean", "null"], "default": true,
            "description": "Whether a client may choose the strategy with `?routing_hint=`.",
        },
    }));
    if whole {
        object("A rule; what is not given gets its default.", &all, &["name"])
    } else {
        object("What is to be changed of a rule; null sets a field back to its default.", &all, &[])
    }
}

fn dry_run() -> Value {
    let all = properties(json!({
        "rule": reference("NewRule"),
        "replaces": {
            "type": ["string", "null"],
            "description": "Name or id of the rule in whose place it would be; none: it would be a new one.",
        },
    }));
    object("A rule to try out.", &all, &["rule"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use myagent_core::request::{Changes, NewService};

    /// The properties of a schema.
    fn known(schema: &Value) -> Vec<String> {
        schema["properties"].as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn every_schema_can_be_read() {
        for json in [new_service(), replacement(), changes(), rule(true), rule(false), dry_run()] {
            assert!(serde_json::from_value::<RefOr<Schema>>(json.clone()).is_ok(), "{json}");
        }
    }

    #[test]
    fn the_fields_of_the_document_are_those_that_are_read() {
        let unknown = |field: &str, errors: Vec<myagent_core::FieldError>| {
            errors.iter().any(|error| error.field == field && error.message.starts_with("unknown field"))
        };
        // Each one that the document has is known (its value is at fault, if anything is), and another one is not.
        for field in known(&new_service()) {
            let body = json!({field.as_str(): {"x": []}});
            assert!(!unknown(&field, NewService::from_json(body).unwrap_err()), "{field}");
        }
        for field in known(&changes()) {
            let errors = Changes::from_json(json!({field.as_str(): {"x": []}})).err().unwrap_or_default();
            assert!(!unknown(&field, errors), "{field}");
        }
        for field in known(&rule(true)) {
            let errors = myagent_core::routing::rule::parse(json!({field.as_str(): {"x": []}})).unwrap_err();
            assert!(!unknown(&field, errors), "{field}");
        }
        for field in known(&dry_run()) {
            let body = json!({field.as_str(): {"x": []}});
            let errors = myagent_core::routing::rule::parse_dry_run(body).unwrap_err();
            assert!(!unknown(&field, errors), "{field}");
        }
        assert!(unknown("colour", Changes::from_json(json!({"colour": 1})).unwrap_err()));
    }
}
