//! Rules as people write them: what is read, what is refused, and how.

use super::*;
use crate::routing::condition::Operator;
use serde_json::{Value, json};
use uuid::Uuid;

fn rule(spec: RuleSpec) -> Rule {
    let now = Timestamp::UNIX_EPOCH;
    Rule { rule_id: RuleId(Uuid::nil()), spec, created_at: now, updated_at: now, version: 1 }
}

#[test]
fn usual_rules_are_read() {
    for body in [
        json!({"name": "mobile", "priority": 1, "target_tags": ["mobile"], "target_strategy": "least_connections",
            "conditions": [{"field": "user_agent", "operator": "contains", "value": "Mobile"}]}),
        json!({"name": "office", "target_services": ["weather", "news"], "target_strategy": "hash_based",
            "conditions": [{"field": "client_ip", "operator": "starts_with", "value": "192.168."}]}),
        json!({"name": "v2", "target_tags": ["v2"],
            "conditions": [{"field": "header.X-API-Version", "operator": "equals", "value": "v2", "case_sensitive": true}]}),
        json!({"name": "vip", "target_services": ["high-performance"],
            "conditions": [{"field": "header.x-user-tier", "operator": "equals", "value": "vip"}]}),
        json!({"name": "lan", "description": null, "enabled": false, "tag_match": "any", "target_tags": ["a", "b"],
            "conditions": [{"field": "client_ip", "operator": "ip_in_range", "value": "192.168.1.0/24"}]}),
        json!({"name": "default", "priority": 999}),
        json!({"name": "canary", "hash_key": "cookie.user", "allow_hint": false, "fallback_strategy": "round_robin",
            "split": [{"tag": "canary", "percent": 5}, {"service": "weather", "percent": 95}], "weight": {"weather": 3}}),
    ] {
        let spec = parse(body.clone()).unwrap_or_else(|errors| panic!("{body}: {errors:?}"));
        let whole = rule(spec);
        let json = serde_json::to_value(&whole).unwrap();
        assert_eq!(
            serde_json::from_value::<Rule>(json.clone()).unwrap(),
            whole,
            "the store reads what it wrote"
        );
        assert_eq!(parse(json.clone()).unwrap(), whole.spec, "what was read can be written back");
        for (name, value) in body.as_object().unwrap().iter().filter(|(_, value)| value.is_string()) {
            assert_eq!(&json[name], value);
        }
        CompiledRule::new(whole).unwrap();
    }
}

fn refused(body: &Value) -> Vec<FieldError> {
    parse(body.clone()).expect_err(&body.to_string())
}

#[test]
fn every_field_at_fault_is_named_at_once() {
    let errors = refused(&json!({
        "name": " ", "description": "x".repeat(1001), "priority": 2_000_000, "enabled": "yes", "prioritty": 1,
        "conditions": [
            {"field": "a", "operator": "equals", "value": "x"},
            {"field": "a", "operator": "is", "value": "x"},
            {"field": "a", "operator": "regex_match", "value": "("},
            {"operator": "exists", "colour": 1},
            5,
        ],
        "target_services": ["Not A Name"], "target_tags": ["a b"], "tag_match": "some", "target_strategy": "fastest",
        "fallback_strategy": 5, "hash_key": "header.", "weight": 0, "allow_hint": 1,
        "split": [{"tag": "a", "service": "b", "percent": 10}, {"percent": 20}, {"tag": "x", "percent": 300}],
    }));
    let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    for field in [
        "name",
        "description",
        "priority",
        "enabled",
        "prioritty",
        "conditions[1].operator",
        "conditions[3].colour",
        "conditions[3].field",
        "conditions[4]",
        "tag_match",
        "target_strategy",
        "fallback_strategy",
        "hash_key",
        "weight",
        "allow_hint",
        "split[2].percent",
    ] {
        assert!(fields.contains(&field), "{field} is not in {fields:?}");
    }
}

#[test]
fn messages_say_what_would_be_right() {
    let check = |body: Value, field: &str, part: &str| {
        let errors = refused(&body);
        let found = errors.iter().any(|error| error.field == field && error.message.contains(part));
        assert!(found, "{body}: {errors:?} lacks {field}: {part}");
    };
    check(json!([]), "body", "must be a JSON object");
    check(json!({}), "name", "is missing");
    check(json!({"name": "a", "target_servces": []}), "target_servces", "did you mean target_services?");
    check(json!({"name": "a", "zzz": 1}), "zzz", "known are name, description");
    check(json!({"name": "a", "target_strategy": "fast"}), "target_strategy", "`least_connections`");
    check(json!({"name": "a", "target_strategy": "manual"}), "target_services", "manual takes the first");
    check(json!({"name": "a", "conditions": {}}), "conditions", "list of objects");
    check(
        json!({"name": "a", "conditions": vec![json!({"field": "a", "operator": "exists"}); 33]}),
        "conditions",
        "at most 32",
    );
    let one = |condition: Value| json!({"name": "a", "conditions": [{"field": "a", "operator": "exists"}, condition]});
    check(
        one(json!({"field": "a", "operator": "regex_match", "value": "("})),
        "conditions[1].value",
        "unclosed group",
    );
    check(one(json!({"field": "", "operator": "exists"})), "conditions[1].field", "is empty");
    check(one(json!({"field": "a", "operator": "is"})), "conditions[1].operator", "`not_exists`");
    check(
        one(json!({"field": "a", "operator": "in_list", "value": "a", "case_sensitive": 1})),
        "conditions[1].case_sensitive",
        "boolean",
    );
    let split = |parts: Value| json!({"name": "a", "split": parts});
    check(split(json!([{"tag": "a", "percent": 50}])), "split", "add up to 50, not to 100");
    check(split(json!([{"percent": 100}])), "split[0]", "either a tag or a service");
    check(split(json!([{"tag": "a b", "percent": 100}])), "split[0].tag", "without spaces");
    check(split(json!([{"service": "A", "percent": 100}])), "split[0].service", "lower-case");
    check(json!({"name": "a", "weight": "x"}), "weight", "whole number, or an object");
    check(json!({"name": "a", "weight": {"a": "x"}}), "weight", "invalid type");
    check(json!({"name": "a", "weight": {"a": 0}}), "weight.a", "from 1 to 1000");
    check(json!({"name": "a", "weight": {"A B": 1}}), "weight", "lower-case");
    check(json!({"name": "x".repeat(101)}), "name", "at most 100");
}

#[test]
fn a_patch_changes_what_it_names() {
    let old = rule(parse(json!({"name": "a", "priority": 5, "hash_key": "path", "weight": 3})).unwrap());
    let new = patch(&old, json!({"enabled": false, "hash_key": null, "rule_id": "x"})).unwrap();
    assert_eq!((new.priority, new.enabled, new.hash_key.as_deref()), (5, false, None));
    assert_eq!(new.weight, Some(Weights::Same(3)));
    assert_eq!(patch(&old, json!({"priority": "high"})).unwrap_err()[0].field, "priority");
    assert_eq!(patch(&old, json!(5)).unwrap_err()[0].field, "body");
    assert_eq!(patch(&old, json!({"name": null})).unwrap_err()[0].field, "name");
    let [unknown] = &patch(&old, json!({"prioritty": null})).unwrap_err()[..] else { panic!("one fault") };
    assert!(unknown.field == "prioritty" && unknown.message.contains("did you mean priority"), "{unknown}");
}

#[test]
fn ids_of_services_are_as_good_as_names() {
    let id = Uuid::from_u128(7).to_string();
    let spec = parse(json!({"name": "a", "target_services": [id], "weight": {id.clone(): 2}})).unwrap();
    assert_eq!(spec.target_services, [id]);
    assert_eq!(Operator::ALL.len(), 12);
}

mod properties {
    use super::{CompiledRule, Value, json, parse, rule};
    use proptest::prelude::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z.(*\\[]{0,8}".prop_map(Value::from),
            Just(json!("equals")),
            Just(json!("regex_match")),
            Just(json!("manual")),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let key = prop_oneof![
                proptest::sample::select(
                    ["name", "conditions", "field", "operator", "value", "split", "tag", "percent", "weight"]
                        .to_vec()
                )
                .prop_map(str::to_owned),
                "[a-z]{1,6}",
            ];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(key, inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever comes, it is a rule that compiles or a list of faults.
        #[test]
        fn any_json_is_a_rule_or_refused(body in any_json()) {
            match parse(body) {
                Ok(spec) => prop_assert!(CompiledRule::new(rule(spec)).is_ok()),
                Err(errors) => prop_assert!(!errors.is_empty()),
            }
        }
    }
}
