//! How rules and explanations look to people. Pure.

use super::human::plain;
use super::table::{self, numbers, words};
use super::{Colour, Output};
use myagent_core::routing::{
    CandidateState, CandidateView, Condition, Explanation, FailedCondition, Outcome, PoolKind, RuleOutcome,
    RuleSpec, RuleView as TriedRule, TagMatch, Weights,
};
use myagent_core::view::RuleView;
use serde_json::Value;

/// One line per rule.
pub(crate) fn list(views: &[RuleView], out: &Output) -> String {
    let columns = [
        numbers("PRIORITY"),
        words("NAME"),
        words("ENABLED"),
        words("CONDITIONS"),
        words("TARGET"),
        words("STRATEGY"),
        numbers("CONNECTIONS"),
    ];
    let rows = views.iter().map(|view| {
        let spec = &view.rule.spec;
        vec![
            spec.priority.to_string(),
            spec.name.clone(),
            if spec.enabled { "yes" } else { "no" }.to_owned(),
            conditions(&spec.conditions),
            target(spec),
            strategy(spec),
            view.stats.connections.to_string(),
        ]
    });
    let mut lines = table::lines(&columns, rows.collect());
    lines[0] = out.paint(Colour::Bold, &lines[0]);
    lines.join("\n")
}

/// A rule with all it says.
pub(crate) fn show(view: &RuleView, out: &Output) -> String {
    let spec = &view.rule.spec;
    let mut facts = vec![
        ("rule", spec.name.clone()),
        ("id", view.rule.rule_id.to_string()),
        ("priority", spec.priority.to_string()),
        ("enabled", if spec.enabled { "yes" } else { "no: it is not tried" }.to_owned()),
    ];
    if !spec.description.is_empty() {
        facts.push(("for", spec.description.clone()));
    }
    if spec.conditions.is_empty() {
        facts.push(("when", "always".to_owned()));
    }
    for (number, condition) in spec.conditions.iter().enumerate() {
        facts.push((if number == 0 { "when" } else { "and" }, self::condition(condition)));
    }
    facts.push(("target", target(spec)));
    facts.push(("strategy", strategy(spec)));
    if let Some(fallback) = spec.fallback_strategy {
        facts.push(("fallback", fallback.to_string()));
    }
    if let Some(key) = &spec.hash_key {
        facts.push(("hash key", key.clone()));
    }
    match &spec.weight {
        Some(Weights::Same(weight)) => facts.push(("weight", weight.to_string())),
        Some(Weights::Each(weights)) => {
            let each: Vec<String> = weights.iter().map(|(name, weight)| format!("{name}={weight}")).collect();
            facts.push(("weight", each.join(", ")));
        }
        None => {}
    }
    if !spec.allow_hint {
        facts.push(("hints", "clients may not choose the strategy".to_owned()));
    }
    facts.push(("connections", view.stats.connections.to_string()));
    facts.push((
        "changed",
        format!("{} (version {})", super::human::time(view.rule.updated_at), view.rule.version),
    ));
    for warning in &view.warnings {
        facts.push(("warning", out.paint(Colour::Yellow, &plain(warning))));
    }
    lines(&facts)
}

fn lines(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let line = |(name, value): &(&str, String)| format!("{name:width$}  {value}");
    facts.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn conditions(conditions: &[Condition]) -> String {
    if conditions.is_empty() {
        return "-".to_owned();
    }
    conditions.iter().map(condition).collect::<Vec<_>>().join(" and ")
}

/// `user_agent contains "Mobile"`.
fn condition(condition: &Condition) -> String {
    let case = if condition.case_sensitive { " (case-sensitive)" } else { "" };
    let Condition { field, operator, value, .. } = condition;
    plain(&format!("{field} {operator}{}{case}", self::value(value)))
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        value => format!(" {value}"),
    }
}

/// `weather, news; tags v2 (any of them); 90 % weather, 10 % tag canary`.
fn target(spec: &RuleSpec) -> String {
    let mut parts = Vec::new();
    if !spec.target_services.is_empty() {
        parts.push(spec.target_services.join(", "));
    }
    if !spec.target_tags.is_empty() {
        let any = if spec.tag_match == TagMatch::Any && spec.target_tags.len() > 1 { " (any)" } else { "" };
        parts.push(format!("tag {}{any}", spec.target_tags.join(", ")));
    }
    if !spec.split.is_empty() {
        let share = spec.split.iter().map(|share| {
            let what = match (&share.service, &share.tag) {
                (Some(service), _) => service.clone(),
                (None, tag) => format!("tag {}", tag.as_deref().unwrap_or_default()),
            };
            format!("{} % {what}", share.percent)
        });
        parts.push(share.collect::<Vec<_>>().join(", "));
    }
    if parts.is_empty() { "all services".to_owned() } else { parts.join("; ") }
}

fn strategy(spec: &RuleSpec) -> String {
    spec.target_strategy.map_or_else(|| "(default)".to_owned(), |strategy| strategy.to_string())
}

/// What would become of a client, and why.
pub(crate) fn explanation(it: &Explanation, out: &Output) -> String {
    let mut lines = vec![verdict(it, out)];
    if !it.rules.is_empty() {
        lines.push(String::new());
        let columns = [numbers("PRIORITY"), words("RULE"), words("OUTCOME"), words("WHY")];
        let rows = it.rules.iter().map(rule_row).collect();
        headed(&mut lines, table::lines(&columns, rows), out);
    }
    if !it.candidates.is_empty() {
        lines.push(String::new());
        let columns = [
            words("CANDIDATE"),
            words("STATE"),
            numbers("CONNECTIONS"),
            numbers("PLACES"),
            numbers("WEIGHT"),
            words("WHY"),
        ];
        let rows = it.candidates.iter().map(candidate_row).collect();
        headed(&mut lines, table::lines(&columns, rows), out);
    }
    lines.join("\n")
}

fn headed(lines: &mut Vec<String>, mut table: Vec<String>, out: &Output) {
    table[0] = out.paint(Colour::Bold, &table[0]);
    lines.append(&mut table);
}

/// The first line: who gets it, and by what.
fn verdict(it: &Explanation, out: &Output) -> String {
    let how = match (it.pool, &it.rule) {
        (_, Some(rule)) => format!("rule {rule:?}"),
        (Some(PoolKind::Service), _) => "the request names the service".to_owned(),
        (Some(PoolKind::Session), _) => "the request names a session of it".to_owned(),
        (Some(PoolKind::Tags), _) => "the request asks for tags".to_owned(),
        (Some(PoolKind::Default), _) => "no rule applies: all services".to_owned(),
        (Some(PoolKind::Rule) | None, _) => String::new(),
    };
    let how = if how.is_empty() { how } else { format!(" ({how})") };
    let reason = it.reason.as_deref().unwrap_or_default();
    plain(&match it.outcome {
        Outcome::Go => {
            let instance = out.paint(Colour::Green, it.instance.as_deref().unwrap_or_default());
            let strategy = it.strategy.map_or_else(String::new, |strategy| format!(", {strategy}"));
            return format!("{} goes to {instance}{how}{strategy}", it.client_ip);
        }
        Outcome::Wait => format!("{} waits: {reason}{how}", it.client_ip),
        Outcome::Refuse => format!("{} is turned away: {reason}{how}", it.client_ip),
    })
}

fn rule_row(rule: &TriedRule) -> Vec<String> {
    let (outcome, why) = match rule.outcome {
        RuleOutcome::Matched => ("matched", String::new()),
        RuleOutcome::Disabled => ("skipped", "it is disabled".to_owned()),
        RuleOutcome::NoMember => {
            ("skipped", "none of its services has an instance that is up or starting".to_owned())
        }
        RuleOutcome::ConditionFailed => ("skipped", rule.failed.as_ref().map(failed).unwrap_or_default()),
    };
    vec![rule.priority.to_string(), rule.name.clone(), outcome.to_owned(), why]
}

/// `user_agent contains "Mobile"; the request has "curl/8"`.
fn failed(failed: &FailedCondition) -> String {
    let FailedCondition { field, operator, value, actual, .. } = failed;
    let actual = match actual {
        Some(actual) => {
            let short: String = actual.chars().take(80).collect();
            format!("the request has {short:?}")
        }
        None => "the request has none".to_owned(),
    };
    plain(&format!("{field} {operator}{}; {actual}", self::value(value)))
}

fn candidate_row(candidate: &CandidateView) -> Vec<String> {
    let places = if candidate.max_places == 0 {
        "-".to_owned()
    } else {
        format!("{}/{}", candidate.places.max(candidate.active), candidate.max_places)
    };
    let state = match candidate.state {
        CandidateState::Eligible if candidate.chosen => "chosen",
        CandidateState::Eligible => "eligible",
        CandidateState::Tried => "tried",
        CandidateState::Full => "full",
        CandidateState::Ejected => "ejected",
        CandidateState::Starting => "starting",
        CandidateState::OutOfService => "out of service",
        CandidateState::OtherPart => "other part",
    };
    vec![
        candidate.instance.clone(),
        state.to_owned(),
        candidate.active.to_string(),
        places,
        candidate.weight.to_string(),
        candidate.why_not.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view(mut spec: Value) -> RuleView {
        for (name, value) in [
            ("rule_id", json!("0199d3a0-0000-7000-8000-000000000000")),
            ("created_at", json!("1970-01-01T00:00:00Z")),
            ("updated_at", json!("1970-01-01T00:10:00Z")),
            ("version", json!(2)),
        ] {
            spec[name] = value;
        }
        serde_json::from_value(spec).unwrap()
    }

    fn words(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_rule_is_a_line_in_the_list() {
        let check = |spec: Value, expected: &str| {
            let text = list(&[view(spec)], &Output::plain());
            assert_eq!(words(text.lines().nth(1).unwrap()), expected);
        };
        check(json!({"name": "all", "priority": 999}), "999 all yes - all services (default) 0");
        check(
            json!({"name": "m", "enabled": false, "target_tags": ["a", "b"], "tag_match": "any", "target_strategy": "hash_based",
                "conditions": [{"field": "user_agent", "operator": "contains", "value": "Mobile"},
                    {"field": "host", "operator": "exists", "case_sensitive": true}]}),
            "100 m no user_agent contains \"Mobile\" and host exists (case-sensitive) tag a, b (any) hash_based 0",
        );
        check(
            json!({"name": "c", "target_services": ["x", "y"],
                "split": [{"service": "x", "percent": 90}, {"tag": "v2", "percent": 10}]}),
            "100 c yes - x, y; 90 % x, 10 % tag v2 (default) 0",
        );
    }

    #[test]
    fn a_rule_alone_says_everything() {
        let mut rule = view(
            json!({"name": "m", "description": "phones", "weight": {"x": 3}, "hash_key": "path",
            "fallback_strategy": "manual", "allow_hint": false,
            "conditions": [{"field": "a", "operator": "exists"}, {"field": "b", "operator": "in_list", "value": ["1"]}]}),
        );
        rule.warnings.push("target_services[0]: no service is named \"x\"".to_owned());
        let text = show(&rule, &Output::plain());
        for part in [
            "for phones",
            "when a exists",
            "and b in_list [\"1\"]",
            "fallback manual",
            "hash key path",
            "weight x=3",
            "hints clients may not",
            "(version 2)",
            "warning target_services[0]: no service",
        ] {
            assert!(words(&text).contains(part), "{part}\n{text}");
        }
        assert!(words(&show(&view(json!({"name": "a"})), &Output::plain())).contains("when always"));
    }

    #[test]
    fn an_explanation_names_every_reason() {
        let it: Explanation = serde_json::from_value(json!({
            "outcome": "go", "client_ip": "10.0.0.1", "instance": "a-0", "service": "a", "strategy": "round_robin",
            "pool": "rule", "rule": "r",
            "rules": [
                {"rule_id": "0199d3a0-0000-7000-8000-000000000000", "name": "q", "priority": 1, "outcome": "condition_failed",
                    "failed": {"index": 0, "field": "path", "operator": "equals", "value": "/x", "actual": "/"}},
                {"rule_id": "0199d3a0-0000-7000-8000-000000000001", "name": "r", "priority": 2, "outcome": "matched"},
            ],
            "candidates": [
                {"instance": "a-0", "service": "a", "state": "eligible", "active": 2, "places": 1, "max_places": 5, "weight": 1,
                    "chosen": true},
                {"instance": "a-1", "service": "a", "state": "starting", "why_not": "is starting", "active": 0, "places": 0,
                    "max_places": 0, "weight": 1, "chosen": false},
            ],
        }))
        .unwrap();
        let text = words(&explanation(&it, &Output::plain()));
        for part in [
            "10.0.0.1 goes to a-0 (rule \"r\"), round_robin",
            "1 q skipped path equals \"/x\"; the request has \"/\"",
            "2 r matched",
            "a-0 chosen 2 2/5 1",
            "a-1 starting 0 - 1 is starting",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let refused: Explanation = serde_json::from_value(json!({"outcome": "refuse", "client_ip": "::1",
            "reason": "no running service is named \"x\"", "rules": [], "candidates": []}))
        .unwrap();
        assert_eq!(
            explanation(&refused, &Output::plain()),
            "::1 is turned away: no running service is named \"x\""
        );
    }
}
