//! The manager's settings: `config.toml` in the data directory, then `MYAGENT_*` variables over it.

use crate::datadir::DataDir;
use anyhow::{Context, Result, bail};
use myagent_core::settings::{KEYS, Settings};
use std::fs;
use std::io;

/// Reads and checks them. Unknown keys are refused; a missing file means the defaults.
pub(crate) fn load(data: &DataDir) -> Result<Settings> {
    let path = data.path().join("config.toml");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        // A data directory that is a file is told by whoever makes it.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            String::new()
        }
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
    };
    parse(&text, |name| std::env::var(name).ok())
        .with_context(|| format!("failed to load {}", path.display()))
}

fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Settings> {
    let mut table: toml::Table =
        toml::from_str(text).map_err(|error| anyhow::anyhow!("{}", one_line(&error)))?;
    for (name, _) in KEYS {
        let variable_name = format!("MYAGENT_{}", name.to_uppercase());
        if let Some(value) = variable(&variable_name) {
            // As in the file; a bare word is a string.
            let typed: Option<toml::Table> = toml::from_str(&format!("value = {value}")).ok();
            let value =
                typed.and_then(|mut table| table.remove("value")).unwrap_or(toml::Value::String(value));
            table.insert((*name).to_owned(), value);
        }
    }
    let settings: Settings = table.try_into().map_err(|error| anyhow::anyhow!("{}", one_line(&error)))?;
    if let Err(errors) = settings.validate() {
        bail!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    }
    Ok(settings)
}

fn one_line(error: &toml::de::Error) -> String {
    error.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        parse(text, variable).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn variables_are_over_the_file_and_the_file_over_the_defaults() {
        assert_eq!(check("", &[]), Ok(Settings::default()));
        let settings = check(
            "port_range = [1000, 2000]\nqueue_size = 5",
            &[("MYAGENT_QUEUE_SIZE", "7"), ("MYAGENT_LOG_LEVEL", "debug")],
        );
        let settings = settings.unwrap();
        assert_eq!(
            (settings.port_range, settings.queue_size, settings.log_level.as_str()),
            ((1000, 2000), 7, "debug")
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(check("colour = 1", &[]).unwrap_err().contains("colour"));
        assert!(check("queue_size = -1", &[]).unwrap_err().contains("queue_size"));
        assert!(check("retention_days = 0", &[]).unwrap_err().contains("retention_days: must be"));
        assert!(check("= 1", &[]).is_err());
        assert!(check("", &[("MYAGENT_PORT_RANGE", "[9, 1]")]).unwrap_err().contains("port_range"));
    }
}
