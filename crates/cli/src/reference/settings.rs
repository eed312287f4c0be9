//! `settings.md`: the settings of a service and of the manager, with what they take and their defaults.

use super::{MADE, code, head, row};
use myagent_core::config::{self, ServiceConfig};
use myagent_core::settings::{self, Settings};
use serde_json::Value;

pub(super) fn page() -> String {
    let mut page = format!(
        "{MADE}\n\n# Settings\n\n\
         ## Of a service\n\n\
         Given with `--set KEY=VALUE` at `register` and `update` (some have a flag of their own), and as `config` in the API. \
         Where a restart is needed, what runs goes on with the old value until `myagent-manager restart NAME`.\n\n"
    );
    let defaults = serde_json::to_value(ServiceConfig::default()).unwrap_or_default();
    page += &head(["key", "default", "takes", "restart", "meaning"]);
    for key in config::KEYS {
        let default = defaults.get(key.name).map_or_else(|| "none".to_owned(), value);
        let restart = if key.restart { "yes" } else { "no" };
        page += &row([&code(key.name), &default, &key.kind.describe(), restart, key.help]);
    }
    page += "\n## Of the manager\n\n\
         Read when a manager starts: from `config.toml` in its data directory, then from the environment, which wins. \
         Unknown keys are refused.\n\n";
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    page += &head(["key", "in the environment", "default", "meaning"]);
    for (name, help) in settings::KEYS {
        let default = defaults.get(*name).map_or_else(|| "none".to_owned(), value);
        let variable = format!("MYAGENT_{}", name.to_uppercase());
        page += &row([&code(name), &code(&variable), &default, help]);
    }
    page
}

/// A default as one would write it: whole seconds without a fraction.
fn value(value: &Value) -> String {
    match value.as_f64() {
        Some(number) => code(&number.to_string()),
        None => code(&value.to_string().replace(',', ", ")),
    }
}
