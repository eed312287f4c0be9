//! Reading a rule from JSON, naming every field at fault at once.

use super::{MAX_CONDITIONS, MAX_PARTS, MAX_TARGETS, Rule, RuleSpec, Share, Weights};
use crate::error::FieldError;
use crate::routing::condition::Condition;
use crate::service::MAX_TAGS;
use crate::suggest::nearest;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::fmt::Write;

/// Fields of a rule.
const FIELDS: &[&str] = &[
    "name",
    "description",
    "priority",
    "enabled",
    "conditions",
    "target_services",
    "target_tags",
    "tag_match",
    "target_strategy",
    "fallback_strategy",
    "split",
    "hash_key",
    "weight",
    "allow_hint",
];
/// Fields that are ours; accepted and not looked at, so that what was read can be written back.
const READ_ONLY: &[&str] = &["rule_id", "created_at", "updated_at", "version", "stats", "warnings"];

/// Reads and checks what a rule should be. Only `name` is required; null is as good as absent.
pub fn parse(body: Value) -> Result<RuleSpec, Vec<FieldError>> {
    let Value::Object(mut map) = body else {
        return Err(vec![FieldError::new("body", "must be a JSON object")]);
    };
    map.retain(|name, _| !READ_ONLY.contains(&name.as_str()));
    let mut errors = Vec::new();
    check_names("", map.keys(), FIELDS, &mut errors);
    map.retain(|_, value| !value.is_null());
    refuse_long_lists(&mut map, &mut errors);
    if !map.contains_key("name") {
        errors.push(FieldError::new("name", "is missing; say what the rule is for"));
    }
    let mut reader = Reader { map, errors, has_bad_list: false };
    let mut spec = RuleSpec {
        conditions: reader.list("conditions", &["field", "operator", "value", "case_sensitive"]),
        ..RuleSpec::default()
    };
    spec.split = reader.list::<Share>("split", &["tag", "service", "percent"]);
    reader.weight(&mut spec.weight);
    reader.read("name", &mut spec.name);
    reader.read("description", &mut spec.description);
    reader.read("priority", &mut spec.priority);
    reader.read("enabled", &mut spec.enabled);
    reader.read("target_services", &mut spec.target_services);
    reader.read("target_tags", &mut spec.target_tags);
    reader.read("tag_match", &mut spec.tag_match);
    reader.read("target_strategy", &mut spec.target_strategy);
    reader.read("fallback_strategy", &mut spec.fallback_strategy);
    reader.read("hash_key", &mut spec.hash_key);
    reader.read("allow_hint", &mut spec.allow_hint);
    let Reader { mut errors, has_bad_list, .. } = reader;
    // What could not be read has its default now, about which nothing need be said twice; indices are those of the body
    // only if every entry of the lists could be read.
    let said: Vec<String> = errors.iter().map(|error: &FieldError| error.field.clone()).collect();
    if let Err(more) = spec.validate() {
        let is_new = |error: &FieldError| {
            !said.contains(&error.field)
                && !(has_bad_list && (error.field.contains('[') || error.field == "split"))
        };
        errors.extend(more.into_iter().filter(is_new));
    }
    if errors.is_empty() { Ok(spec) } else { Err(errors) }
}

/// Reads what a dry run is asked of: a rule, and the name or id of the one in whose place it would be. Faults of the rule are named as
/// if it was made.
pub fn parse_dry_run(body: Value) -> Result<(RuleSpec, Option<String>), Vec<FieldError>> {
    let Value::Object(mut map) = body else {
        return Err(vec![FieldError::new("body", "must be a JSON object")]);
    };
    let mut errors = Vec::new();
    check_names("", map.keys(), &["rule", "replaces"], &mut errors);
    let replaces = match map.remove("replaces") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => {
            errors.push(FieldError::new("replaces", "must be the name or id of a rule"));
            None
        }
    };
    let rule = match map.remove("rule") {
        None | Some(Value::Null) => {
            Err(vec![FieldError::new("rule", "is missing; give the rule as it would be made")])
        }
        Some(rule @ Value::Object(_)) => parse(rule),
        Some(_) => Err(vec![FieldError::new("rule", "must be a JSON object")]),
    };
    match rule {
        Ok(spec) if errors.is_empty() => Ok((spec, replaces)),
        rule => {
            errors.extend(rule.err().into_iter().flatten());
            Err(errors)
        }
    }
}

/// Lists that are too long are refused before anything in them is looked at, which may cost much.
fn refuse_long_lists(map: &mut Map<String, Value>, errors: &mut Vec<FieldError>) {
    for (name, most) in [
        ("conditions", MAX_CONDITIONS),
        ("target_services", MAX_TARGETS),
        ("target_tags", MAX_TAGS),
        ("split", MAX_PARTS),
    ] {
        let count = map.get(name).and_then(Value::as_array).map_or(0, Vec::len);
        if count > most {
            map.remove(name);
            errors.push(FieldError::new(name, format!("has {count} entries, at most {most} are allowed")));
        }
    }
}

/// What the rule should be with some of its fields changed; null sets one back to its default.
pub fn patch(rule: &Rule, changes: Value) -> Result<RuleSpec, Vec<FieldError>> {
    let Value::Object(changes) = changes else {
        return Err(vec![FieldError::new("body", "must be a JSON object")]);
    };
    let whole =
        serde_json::to_value(&rule.spec).map_err(|error| vec![FieldError::new("body", error.to_string())])?;
    let mut map = match whole {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    map.extend(changes);
    parse(Value::Object(map))
}

struct Reader {
    map: Map<String, Value>,
    errors: Vec<FieldError>,
    has_bad_list: bool,
}

impl Reader {
    fn read<T: DeserializeOwned>(&mut self, name: &str, into: &mut T) {
        let Some(value) = self.map.remove(name) else { return };
        match serde_json::from_value(value) {
            Ok(value) => *into = value,
            Err(error) => self.errors.push(FieldError::new(name, error.to_string())),
        }
    }

    /// A list of objects, each fault with its place.
    fn list<T: Entry>(&mut self, name: &str, fields: &[&str]) -> Vec<T> {
        let entries = match self.map.remove(name) {
            None => return Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(_) => {
                self.errors.push(FieldError::new(name, "must be a list of objects"));
                return Vec::new();
            }
        };
        let before = self.errors.len();
        let mut read = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let place = format!("{name}[{index}]");
            let Value::Object(entry) = entry else {
                self.errors.push(FieldError::new(place, "must be an object"));
                continue;
            };
            let count = self.errors.len();
            check_names(&format!("{place}."), entry.keys(), fields, &mut self.errors);
            for required in T::REQUIRED {
                if entry.get(*required).is_none_or(Value::is_null) {
                    self.errors.push(FieldError::new(format!("{place}.{required}"), "is missing"));
                }
            }
            if self.errors.len() > count {
                continue;
            }
            match T::read(entry) {
                Ok(entry) => read.push(entry),
                Err((field, message)) => {
                    self.errors.push(FieldError::new(format!("{place}.{field}"), message))
                }
            }
        }
        self.has_bad_list |= self.errors.len() > before;
        read
    }

    fn weight(&mut self, into: &mut Option<Weights>) {
        let mut message = "must be a whole number, or an object of services and numbers".to_owned();
        *into = match self.map.remove("weight") {
            None => return,
            Some(Value::Number(number)) => {
                number.as_u64().and_then(|weight| u32::try_from(weight).ok()).map(Weights::Same)
            }
            Some(value @ Value::Object(_)) => match serde_json::from_value(value) {
                Ok(weights) => Some(Weights::Each(weights)),
                Err(error) => {
                    let _ = write!(message, ": {error}");
                    None
                }
            },
            Some(_) => None,
        };
        if into.is_none() {
            self.errors.push(FieldError::new("weight", message));
        }
    }
}

/// An entry of a list of objects.
trait Entry: Sized {
    const REQUIRED: &'static [&'static str];
    /// Errors: a field and what is wrong with it.
    fn read(entry: Map<String, Value>) -> Result<Self, (&'static str, String)>;
}

impl Entry for Condition {
    const REQUIRED: &'static [&'static str] = &["field", "operator"];

    fn read(mut entry: Map<String, Value>) -> Result<Self, (&'static str, String)> {
        Ok(Self {
            field: take(&mut entry, "field")?,
            operator: take(&mut entry, "operator")?,
            value: entry.remove("value").unwrap_or_default(),
            case_sensitive: take::<Option<bool>>(&mut entry, "case_sensitive")?.unwrap_or_default(),
        })
    }
}

impl Entry for Share {
    const REQUIRED: &'static [&'static str] = &["percent"];

    fn read(mut entry: Map<String, Value>) -> Result<Self, (&'static str, String)> {
        let percent: u64 = take(&mut entry, "percent")?;
        Ok(Self {
            tag: take(&mut entry, "tag")?,
            service: take(&mut entry, "service")?,
            percent: u8::try_from(percent)
                .ok()
                .filter(|percent| *percent <= 100)
                .ok_or_else(|| ("percent", "must be from 0 to 100".to_owned()))?,
        })
    }
}

fn take<T: DeserializeOwned>(
    entry: &mut Map<String, Value>,
    field: &'static str,
) -> Result<T, (&'static str, String)> {
    let value = entry.remove(field).unwrap_or_default();
    serde_json::from_value(value).map_err(|error| (field, error.to_string()))
}

fn check_names<'a>(
    prefix: &str,
    names: impl Iterator<Item = &'a String>,
    known: &[&str],
    errors: &mut Vec<FieldError>,
) {
    for name in names.filter(|name| !known.contains(&name.as_str())) {
        let message = match nearest(name, known.iter().copied()) {
            Some(near) => format!("unknown field; did you mean {near}?"),
            None => format!("unknown field; known are {}", known.join(", ")),
        };
        errors.push(FieldError::new(format!("{prefix}{name}"), message));
    }
}
