//! Arguments of `route`: a rule as it is typed becomes the JSON that the API takes, which checks it.

use crate::exit::Failure;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The commands below `route`.
#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// Make a rule; it is in force when this returns, and no connection is dropped.
    #[command(after_help = "Examples:\n  \
        myagent-manager route add mobile --when 'user_agent contains Mobile' --to-tag mobile --strategy least_connections\n  \
        myagent-manager route add office --priority 10 --when 'client_ip ip_in_range 192.168.1.0/24' --to weather,news\n  \
        myagent-manager route add canary --to weather,weather2 --split weather=90,weather2=10\n\n\
        FIELD is client_ip, client_port, user_agent, host, path, session_id, header.NAME, query.NAME or cookie.NAME;\n\
        OPERATOR is equals, not_equals, contains, not_contains, starts_with, ends_with, regex_match, in_list, not_in_list, \
        ip_in_range, exists or not_exists. A rule without a condition is for everybody.")]
    Add {
        /// Name of the rule.
        name: String,
        #[command(flatten)]
        rule: RuleArgs,
    },
    /// List the rules in the order in which they are tried.
    #[command(after_help = "Example:\n  myagent-manager route list")]
    List,
    /// Show a rule.
    #[command(after_help = "Example:\n  myagent-manager route show mobile --format json")]
    Show {
        /// The rule, by name or id.
        name: String,
    },
    /// Change a rule; only what is given changes, and no connection is dropped.
    #[command(after_help = "Examples:\n  \
        myagent-manager route update mobile --priority 5\n  \
        myagent-manager route update mobile --name phones --unset fallback_strategy")]
    Update {
        /// The rule, by name or id.
        name: String,
        /// A new name.
        #[arg(long = "name", value_name = "NAME")]
        new_name: Option<String>,
        #[command(flatten)]
        rule: RuleArgs,
        /// Set these fields of the rule back to their defaults, e.g. conditions, split, hash_key.
        #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
        unset: Vec<String>,
    },
    /// Remove rules; connections that they routed stay open.
    #[command(after_help = "Example:\n  myagent-manager route delete mobile canary")]
    Delete {
        /// Rules, by name or id.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Have rules tried again.
    #[command(after_help = "Example:\n  myagent-manager route enable canary")]
    Enable {
        /// Rules, by name or id.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Keep rules, but do not try them.
    #[command(after_help = "Example:\n  myagent-manager route disable canary")]
    Disable {
        /// Rules, by name or id.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Show who would get a client now, and why: the rules with the condition that failed, the candidates, the choice.
    #[command(after_help = "Examples:\n  \
        myagent-manager route explain\n  \
        myagent-manager route explain /chat --ip 192.168.1.7 --header 'User-Agent: Mobile Safari'\n  \
        myagent-manager route explain '/?tag=v2' --header 'X-User-Tier: vip' --format json\n\n\
        It is the front door's own decision, with the loads as they are; nobody's turn is taken.\n\
        Strategies that go by chance (weighted_random, performance_based) may choose otherwise the next time.")]
    Explain(ExplainArgs),
}

/// What a rule says.
#[derive(Debug, Default, Args)]
pub(crate) struct RuleArgs {
    /// A condition; all of them must hold [FIELD OPERATOR VALUE]. On update they take the place of those before.
    #[arg(long, value_name = "CONDITION", allow_hyphen_values = true)]
    when: Vec<String>,
    /// Upper and lower case differ in these conditions.
    #[arg(long, requires = "when")]
    case_sensitive: bool,
    /// Clients go to these services, by name or id; in this order for --strategy manual.
    #[arg(long, value_name = "SERVICE,…", value_delimiter = ',')]
    to: Vec<String>,
    /// Clients go to services with these tags.
    #[arg(long, value_name = "TAG,…", value_delimiter = ',')]
    to_tag: Vec<String>,
    /// One of the tags is enough.
    #[arg(long, requires = "to_tag")]
    any_tag: bool,
    /// How one instance is chosen: round_robin, least_connections, weighted_random, hash_based, tag_based, performance_based or
    /// manual [default: the setting default_strategy].
    #[arg(long, value_name = "STRATEGY")]
    strategy: Option<String>,
    /// How, if that strategy has no answer.
    #[arg(long, value_name = "STRATEGY")]
    fallback: Option<String>,
    /// Shares of the clients in percent, for services or tags: weather=90,tag:canary=10. A client stays with its share.
    #[arg(long, value_name = "PART=PERCENT,…", value_delimiter = ',')]
    split: Vec<String>,
    /// The field that hash_based and --split tell clients apart by [default: client_ip].
    #[arg(long, value_name = "FIELD")]
    hash_key: Option<String>,
    /// Weights in place of the services' own: one for all, or SERVICE=N,…
    #[arg(long, value_name = "WEIGHTS")]
    weight: Option<String>,
    /// Lower is tried first; of equals the older [default: 100].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i64>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Keep it, but do not try it.
    #[arg(long)]
    disabled: bool,
    /// Clients may not choose the strategy with ?routing_hint=.
    #[arg(long)]
    no_hint: bool,
    /// The rule, or a part of it, as JSON; - for standard input. Other arguments stand above it.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl RuleArgs {
    /// What was given, as the API takes it.
    pub(crate) fn to_json(&self) -> Result<Map<String, Value>> {
        let mut body = self.file.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let mut set = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
        if !self.when.is_empty() {
            let conditions = self.when.iter().map(|text| condition(text, self.case_sensitive));
            set("conditions", conditions.collect::<Result<Vec<_>>>()?.into());
        }
        for (name, list) in [("target_services", &self.to), ("target_tags", &self.to_tag)] {
            if !list.is_empty() {
                set(name, json!(list));
            }
        }
        if !self.split.is_empty() {
            set("split", self.split.iter().map(|text| share(text)).collect::<Result<Vec<_>>>()?.into());
        }
        if let Some(text) = &self.weight {
            set("weight", weight(text)?);
        }
        for (name, text) in [
            ("target_strategy", &self.strategy),
            ("fallback_strategy", &self.fallback),
            ("hash_key", &self.hash_key),
            ("description", &self.description),
        ] {
            if let Some(text) = text {
                set(name, json!(text));
            }
        }
        if let Some(priority) = self.priority {
            set("priority", json!(priority));
        }
        for (given, name, value) in [
            (self.any_tag, "tag_match", json!("any")),
            (self.disabled, "enabled", json!(false)),
            (self.no_hint, "allow_hint", json!(false)),
        ] {
            if given {
                set(name, value);
            }
        }
        Ok(body)
    }
}

/// Adds what is to be unset to what is to be set. Which fields there are the API knows.
pub(crate) fn unset(body: &mut Map<String, Value>, fields: Vec<String>) -> Result<()> {
    for field in fields {
        if body.contains_key(&field) {
            let message = format!("{field} is set and unset in one command; leave one of the two out");
            return Err(Failure::Usage(message).into());
        }
        body.insert(field, Value::Null);
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<Map<String, Value>> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("failed to read the rule from standard input")?;
    } else {
        text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => bail!("{} has no JSON object in it", path.display()),
        Err(error) => bail!("{} is not JSON: {error}", path.display()),
    }
}

/// `user_agent contains Mobile Safari`.
fn condition(text: &str, case_sensitive: bool) -> Result<Value> {
    let (field, rest) = split_word(text);
    let (operator, value) = split_word(rest);
    if operator.is_empty() {
        let message = format!(
            "--when {text:?} is not FIELD OPERATOR VALUE, e.g. 'user_agent contains Mobile' or 'header.x-tier exists'"
        );
        return Err(Failure::Usage(message).into());
    }
    let mut condition = json!({"field": field, "operator": operator});
    if !value.is_empty() {
        // A list may be written as JSON, for values with commas in them; nothing else looks like one.
        let list = || serde_json::from_str::<Vec<Value>>(value).ok().map(Value::from);
        let takes_list = matches!(operator, "in_list" | "not_in_list" | "ip_in_range");
        condition["value"] = takes_list.then(list).flatten().unwrap_or_else(|| json!(value));
    }
    if case_sensitive {
        condition["case_sensitive"] = json!(true);
    }
    Ok(condition)
}

fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

/// `weather=90`, `tag:canary=10`.
fn share(text: &str) -> Result<Value> {
    let read = || {
        let (part, percent) = text.split_once('=')?;
        let percent: u8 = percent.trim().trim_end_matches('%').parse().ok()?;
        Some(match part.trim().split_once(':') {
            Some(("tag", tag)) => json!({"tag": tag, "percent": percent}),
            Some(("service", service)) => json!({"service": service, "percent": percent}),
            Some(_) => return None,
            None => json!({"service": part.trim(), "percent": percent}),
        })
    };
    read().ok_or_else(|| {
        let message = format!("--split {text:?} is not SERVICE=PERCENT or tag:TAG=PERCENT, e.g. weather=90");
        Failure::Usage(message).into()
    })
}

/// `3`, or `weather=3,news=1`.
fn weight(text: &str) -> Result<Value> {
    if let Ok(weight) = text.trim().parse::<u64>() {
        return Ok(json!(weight));
    }
    let one = |part: &str| {
        let (service, weight) = part.split_once('=')?;
        Some((service.trim().to_owned(), json!(weight.trim().parse::<u64>().ok()?)))
    };
    let each: Option<Map<String, Value>> = text.split(',').map(one).collect();
    each.map(Value::Object).ok_or_else(|| {
        Failure::Usage(format!("--weight {text:?} is neither a number nor SERVICE=N,… e.g. weather=3,news=1"))
            .into()
    })
}

/// Arguments of `route explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Path and query, or the whole URL that a client uses.
    #[arg(default_value = "/", value_name = "PATH")]
    path: String,
    /// The client's address [default: 127.0.0.1].
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// The client's port.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// A header of its request.
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    header: Vec<String>,
}

impl ExplainArgs {
    /// The request to be explained, as the API takes it.
    pub(crate) fn to_json(&self) -> Result<Value> {
        let mut headers = Map::new();
        let mut path = self.path.as_str();
        if let Some((_, rest)) = path.split_once("://").filter(|(scheme, _)| !scheme.contains('/')) {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            headers.insert("host".to_owned(), json!(rest[..at]));
            path = &rest[at..];
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        for header in &self.header {
            let Some((name, value)) = header.split_once(':') else {
                let message = format!("--header {header:?} is not NAME: VALUE, e.g. 'X-User-Tier: vip'");
                return Err(Failure::Usage(message).into());
            };
            headers.insert(name.trim().to_ascii_lowercase(), json!(value.trim()));
        }
        let mut body = json!({"path": path, "headers": headers});
        if let Some(ip) = &self.ip {
            body["client_ip"] = json!(ip);
        }
        if let Some(port) = self.port {
            body["client_port"] = json!(port);
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: RouteCommand,
    }

    fn parse(words: &[&str]) -> Result<RouteCommand, clap::Error> {
        Line::try_parse_from([&["route"], words].concat()).map(|line| line.command)
    }

    fn rule(words: &[&str]) -> Result<Value> {
        match parse(&[&["add", "x"], words].concat())? {
            RouteCommand::Add { rule, .. } => rule.to_json().map(Value::Object),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn a_list_may_be_json_and_what_is_set_is_not_unset() {
        let value = |text: &str| condition(text, false).unwrap()["value"].clone();
        assert_eq!(value(r#"query.x in_list ["a", "b, c"]"#), json!(["a", "b, c"]));
        assert_eq!(value("query.x in_list a, b"), json!("a, b"));
        assert_eq!(value("query.x equals [1]"), json!("[1]"));
        let mut body = Map::from_iter([("priority".to_owned(), json!(4))]);
        assert!(unset(&mut body, vec!["priority".to_owned()]).is_err());
        unset(&mut body, vec!["split".to_owned()]).unwrap();
        assert_eq!(Value::Object(body), json!({"priority": 4, "split": null}));
    }

    #[test]
    fn a_rule_as_typed_is_a_rule_as_the_api_takes_it() {
        let check = |words: &[&str], expected: Value| assert_eq!(rule(words).unwrap(), expected, "{words:?}");
        check(&[], json!({}));
        check(
            &[
                "--when",
                "user_agent contains  Mobile Safari ",
                "--when",
                "header.x-tier exists",
                "--case-sensitive",
            ],
            json!({"conditions": [
                {"field": "user_agent", "operator": "contains", "value": "Mobile Safari", "case_sensitive": true},
                {"field": "header.x-tier", "operator": "exists", "case_sensitive": true},
            ]}),
        );
        check(
            &[
                "--to",
                "a,b",
                "--to",
                "c",
                "--to-tag",
                "t",
                "--any-tag",
                "--strategy",
                "hash_based",
                "--fallback",
                "manual",
            ],
            json!({"target_services": ["a", "b", "c"], "target_tags": ["t"], "tag_match": "any",
                "target_strategy": "hash_based", "fallback_strategy": "manual"}),
        );
        check(
            &[
                "--split",
                "a=90,tag:v2=5%",
                "--split",
                "service:b=5",
                "--weight",
                "a=3,b=1",
                "--hash-key",
                "cookie.u",
            ],
            json!({"split": [{"service": "a", "percent": 90}, {"tag": "v2", "percent": 5}, {"service": "b", "percent": 5}],
                "weight": {"a": 3, "b": 1}, "hash_key": "cookie.u"}),
        );
        check(
            &["--priority", "-5", "--description", "d", "--disabled", "--no-hint", "--weight", "2"],
            json!({"priority": -5, "description": "d", "enabled": false, "allow_hint": false, "weight": 2}),
        );
    }

    #[test]
    fn a_file_is_read_and_arguments_stand_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rule.json");
        fs::write(&file, r#"{"priority": 7, "target_services": ["a"]}"#).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(
            rule(&["--file", file, "--priority", "8"]).unwrap(),
            json!({"priority": 8, "target_services": ["a"]})
        );
        fs::write(file, "[]").unwrap();
        assert!(rule(&["--file", file]).unwrap_err().to_string().contains("no JSON object"));
        fs::write(file, "{").unwrap();
        assert!(rule(&["--file", file]).unwrap_err().to_string().contains("is not JSON"));
        assert!(rule(&["--file", "/nowhere"]).unwrap_err().to_string().contains("failed to read"));
    }

    #[test]
    fn slips_are_told_with_an_example() {
        for (words, part) in [
            (&["--when", "user_agent"][..], "e.g. 'user_agent contains Mobile'"),
            (&["--split", "a"], "e.g. weather=90"),
            (&["--split", "a=x"], "e.g. weather=90"),
            (&["--split", "host:a=5"], "e.g. weather=90"),
            (&["--weight", "much"], "e.g. weather=3,news=1"),
        ] {
            let error = rule(words).unwrap_err();
            assert!(error.to_string().contains(part) && error.is::<Failure>(), "{words:?}: {error}");
        }
        assert!(parse(&["add", "x", "--any-tag"]).is_err());
    }

    #[test]
    fn a_request_to_explain_may_be_a_url() {
        let check = |words: &[&str], expected: Value| match parse(&[&["explain"], words].concat()).unwrap() {
            RouteCommand::Explain(args) => assert_eq!(args.to_json().unwrap(), expected, "{words:?}"),
            other => panic!("{other:?}"),
        };
        check(&[], json!({"path": "/", "headers": {}}));
        check(&["chat?x=1"], json!({"path": "/chat?x=1", "headers": {}}));
        check(&["ws://h:1/s/a?x=1"], json!({"path": "/s/a?x=1", "headers": {"host": "h:1"}}));
        check(&["ws://h?x"], json!({"path": "/?x", "headers": {"host": "h"}}));
        check(&["/?u=a://b"], json!({"path": "/?u=a://b", "headers": {}}));
        check(
            &["/", "--ip", "::1", "--port", "5", "-H", "X-Tier: a:b"],
            json!({"path": "/", "headers": {"x-tier": "a:b"}, "client_ip": "::1", "client_port": 5}),
        );
        let RouteCommand::Explain(args) = parse(&["explain", "-H", "x"]).unwrap() else { panic!() };
        assert!(args.to_json().unwrap_err().to_string().contains("is not NAME: VALUE"));
    }
}
