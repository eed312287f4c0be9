//! The quick form of `cargo deny check licenses bans sources`: the same lists, read from `deny.toml`, held against what
//! cargo itself knows of our dependencies. `make audit` runs the full tool.

use crate::{Verdict, spdx, verdict};
use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;
use std::fs;
use std::path::Path;
use std::process::Command;
use toml::{Table, Value};

/// Checks every package in the graph.
pub(crate) fn run(root: &Path) -> Result<Verdict> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(root)
        .output()
        .context("failed to run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Json = serde_json::from_slice(&output.stdout).context("failed to read cargo metadata")?;
    let rules = fs::read_to_string(root.join("deny.toml")).context("failed to read deny.toml")?;
    let rules: Table = rules.parse().context("failed to read deny.toml")?;
    let packages: Vec<Package> =
        metadata["packages"].as_array().into_iter().flatten().map(Package::read).collect();
    let faults = packages.iter().flat_map(|package| check(package, &rules)).collect();
    Ok(verdict(faults, format!("{} packages are under licences we accept, none is banned", packages.len())))
}

#[derive(Debug, Default)]
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    /// None for our own.
    source: Option<String>,
}

impl Package {
    fn read(json: &Json) -> Self {
        let text = |key: &str| json[key].as_str().map(str::to_owned);
        Self {
            name: text("name").unwrap_or_default(),
            version: text("version").unwrap_or_default(),
            licence: text("license"),
            source: text("source"),
        }
    }
}

/// What is wrong with one package.
fn check(package: &Package, rules: &Table) -> Vec<String> {
    let Package { name, version, licence, source } = package;
    let mut faults = Vec::new();
    let excepted = exceptions(rules, name);
    let allowed = list(rules, "licenses", "allow");
    let allowed = |term: &str| allowed.iter().chain(&excepted).any(|entry| entry == term);
    match licence.as_deref().map(|licence| spdx::acceptable(licence, &allowed)) {
        Some(Ok(true)) => {}
        Some(Ok(false)) => faults.push(format!(
            "{name} {version} is under {}, which deny.toml does not accept",
            licence.as_deref().unwrap_or_default()
        )),
        Some(Err(error)) => faults.push(format!("{name} {version}: its licence cannot be read: {error}")),
        None => faults.push(format!("{name} {version} names no licence")),
    }
    let bans = rules.get("bans").and_then(|bans| bans.get("deny")).and_then(Value::as_array);
    for ban in bans.into_iter().flatten() {
        if ban.get("crate").and_then(Value::as_str) == Some(name) {
            let reason = ban.get("reason").and_then(Value::as_str).unwrap_or("banned in deny.toml");
            faults.push(format!("{name} {version} is banned: {reason}"));
        }
    }
    if source.as_deref().is_some_and(|source| !source.starts_with("registry+")) {
        faults.push(format!(
            "{name} {version} comes from {}: only the registry is allowed",
            source.as_deref().unwrap_or_default()
        ));
    }
    faults
}

fn list(rules: &Table, section: &str, key: &str) -> Vec<String> {
    let entries = rules.get(section).and_then(|section| section.get(key)).and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What one package may be under besides.
fn exceptions(rules: &Table, name: &str) -> Vec<String> {
    let all = rules.get("licenses").and_then(|licences| licences.get("exceptions")).and_then(Value::as_array);
    let ours =
        all.into_iter().flatten().filter(|entry| entry.get("crate").and_then(Value::as_str) == Some(name));
    let terms = ours.filter_map(|entry| entry.get("allow").and_then(Value::as_array)).flatten();
    terms.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        [licenses]
        allow = ["MIT", "ISC"]
        exceptions = [{ crate = "odd", allow = ["MPL-2.0"] }]
        [bans]
        deny = [{ crate = "openssl-sys", reason = "needs a C library" }]
    "#;

    #[test]
    fn the_lists_of_deny_toml_count() {
        let rules: Table = RULES.parse().unwrap();
        let check = |name: &str, licence: Option<&str>, source: &str, expected: &[&str]| {
            let package = Package {
                name: name.into(),
                version: "1.0.0".into(),
                licence: licence.map(str::to_owned),
                source: Some(source.to_owned()),
            };
            let faults = check(&package, &rules);
            assert_eq!(faults.len(), expected.len(), "{faults:?}");
            for (fault, expected) in faults.iter().zip(expected) {
                assert!(fault.contains(expected), "{fault}");
            }
        };
        check("good", Some("MIT OR GPL-3.0"), "registry+x", &[]);
        check("odd", Some("MPL-2.0"), "registry+x", &[]);
        check("bad", Some("MPL-2.0"), "registry+x", &["under MPL-2.0"]);
        check("none", None, "registry+x", &["names no licence"]);
        check("broken", Some("MIT OR"), "registry+x", &["cannot be read"]);
        check("openssl-sys", Some("MIT"), "registry+x", &["banned: needs a C library"]);
        check("forked", Some("MIT"), "git+x", &["only the registry"]);
    }
}
