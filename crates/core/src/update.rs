//! Changing a registered service: some of it, all of it, or its settings; and what a change asks of what runs.

use crate::config::{KEYS, ServiceConfig};
use crate::error::FieldError;
use crate::request::{Changes, NewService, with_others};
use crate::service::Service;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A change, as its author asked for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// What is given is changed, the rest stays.
    Some(Box<Changes>),
    /// What is not given gets its default. Only secrets stay if none are given, because nobody can read them to give them back.
    Whole(Box<NewService>),
    /// All settings: those that are not given get their defaults.
    Config(Map<String, Value>),
}

impl Update {
    /// Reads what a service should be as a whole. The name may be left out; it cannot be changed.
    pub fn whole(body: Value, name: &str) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let body = match body {
            Value::Object(mut map) => {
                if map.remove("auto_start").is_some() {
                    let message = "belongs to registration; start and stop the service instead";
                    errors.push(FieldError::new("auto_start", message));
                }
                match map.get("name") {
                    None => drop(map.insert("name".to_owned(), Value::from(name))),
                    Some(given) if given == name => {}
                    Some(_) => {
                        map.insert("name".to_owned(), Value::from(name));
                        let message = format!("cannot be changed from {name:?}; register another service");
                        errors.push(FieldError::new("name", message));
                    }
                }
                Value::Object(map)
            }
            other => other,
        };
        match NewService::from_json(body) {
            Ok(new) if errors.is_empty() => Ok(Self::Whole(Box::new(new))),
            Ok(_) => Err(errors),
            Err(more) => Err(errors.into_iter().chain(more).collect()),
        }
    }

    /// Reads all settings of a service.
    pub fn config(body: Value) -> Result<Self, Vec<FieldError>> {
        match body {
            Value::Object(settings) => Ok(Self::Config(settings)),
            _ => Err(vec![FieldError::new("body", "must be a JSON object of settings")]),
        }
    }

    /// Makes the change; if something is at fault, everything at fault is named, and nothing is changed. `secrets` are the values
    /// of all secrets, before and after.
    pub fn apply(
        &self,
        service: &mut Service,
        secrets: &mut BTreeMap<String, String>,
    ) -> Result<(), Vec<FieldError>> {
        match self {
            Self::Some(changes) => {
                changes.apply(service)?;
                give(secrets, &changes.options.secrets);
            }
            Self::Whole(new) => {
                let mut fresh = Service {
                    description: String::new(),
                    source: new.source.clone(),
                    host: Service::DEFAULT_HOST.to_owned(),
                    port: None,
                    tags: Default::default(),
                    replicas: 1,
                    config: ServiceConfig::default(),
                    environment: BTreeMap::new(),
                    ..service.clone()
                };
                let given = &new.options.secrets;
                if !given.is_empty() {
                    fresh.secret_names.retain(|name| given.contains_key(name));
                }
                // Null keeps the value that there is.
                let mut options = new.options.clone();
                options.secrets.retain(|_, value| value.is_some());
                if let Err(errors) = options.apply(&mut fresh) {
                    return Err(with_others(errors, &fresh));
                }
                *service = fresh;
                if !given.is_empty() {
                    secrets.retain(|name, _| given.contains_key(name));
                }
                give(secrets, &options.secrets);
            }
            Self::Config(settings) => {
                let mut changes = Changes::default();
                changes.options.config.clone_from(settings);
                let mut fresh = Service { config: ServiceConfig::default(), ..service.clone() };
                changes.apply(&mut fresh)?;
                *service = fresh;
            }
        }
        Ok(())
    }
}

fn give(secrets: &mut BTreeMap<String, String>, given: &BTreeMap<String, Option<String>>) {
    for (name, value) in given {
        match value {
            Some(value) => secrets.insert(name.clone(), value.clone()),
            None => secrets.remove(name),
        };
    }
}

/// Whether what runs goes on as it was until it is restarted. Secrets are compared by the caller, who has them.
pub fn needs_restart(before: &Service, after: &Service) -> bool {
    before.source != after.source
        || before.host != after.host
        || before.port != after.port
        || before.environment != after.environment
        || settings_need_restart(&before.config, &after.config)
}

fn settings_need_restart(before: &ServiceConfig, after: &ServiceConfig) -> bool {
    if before == after {
        return false;
    }
    let (Ok(before), Ok(after)) = (serde_json::to_value(before), serde_json::to_value(after)) else {
        return true;
    };
    KEYS.iter().any(|key| key.restart && before.get(key.name) != after.get(key.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn applied(update: &Update) -> Result<(Service, BTreeMap<String, String>), String> {
        let mut service = crate::service::tests::example();
        service.description = "before".to_owned();
        service.secret_names = ["A".to_owned(), "B".to_owned()].into();
        let mut secrets = BTreeMap::from([("A", "1"), ("B", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        let said =
            |errors: Vec<FieldError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        update.apply(&mut service, &mut secrets).map_err(said)?;
        Ok((service, secrets))
    }

    #[test]
    fn a_whole_service_has_defaults_where_nothing_is_given_and_keeps_its_secrets() {
        let name = crate::service::tests::example().name;
        let whole = |body| Update::whole(body, &name);
        let source = json!({"kind": "external", "url": "ws://h/"});
        let (service, secrets) = applied(&whole(json!({"source": source})).unwrap()).unwrap();
        assert_eq!((service.description.as_str(), service.source.kind()), ("", "external"));
        assert_eq!((service.secret_names.len(), secrets.len()), (2, 2));
        let some = json!({"name": name, "source": source, "secrets": {"A": null, "C": "3"}});
        let (service, secrets) = applied(&whole(some).unwrap()).unwrap();
        assert_eq!(service.secret_names, ["A".to_owned(), "C".to_owned()].into());
        assert_eq!(
            secrets,
            BTreeMap::from([("A", "1"), ("C", "3")].map(|(k, v)| (k.to_owned(), v.to_owned())))
        );
        let errors = whole(json!({"name": "other", "auto_start": true, "colour": 1})).unwrap_err();
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["auto_start", "name", "colour", "source"]);
    }

    #[test]
    fn settings_are_replaced_as_a_whole_and_told_apart_by_whether_they_wait_for_a_restart() {
        let (service, _) = applied(&Update::config(json!({"weight": 7})).unwrap()).unwrap();
        assert_eq!(service.config, ServiceConfig { weight: 7, ..ServiceConfig::default() });
        assert!(
            applied(&Update::config(json!({"weight": 0, "colour": 1})).unwrap())
                .unwrap_err()
                .contains("; config.")
        );
        assert!(Update::config(json!([])).is_err());

        let before = crate::service::tests::example();
        let changed = |change: fn(&mut Service)| {
            let mut after = before.clone();
            change(&mut after);
            needs_restart(&before, &after)
        };
        assert!(!changed(|_| {}));
        assert!(!changed(|s| (s.replicas, s.config.weight) = (7, 9)));
        assert!(!changed(|s| s.description = "x".into()));
        assert!(changed(|s| s.config.max_sessions = 77));
        assert!(changed(|s| s.host = "::1".into()));
        assert!(changed(|s| drop(s.environment.insert("X".into(), "1".into()))));
    }
}
