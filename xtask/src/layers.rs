//! Who may depend on whom. A new arrow, or a new crate, is a decision: it gets a page in `docs/decisions/` and a line
//! here.

use crate::{Verdict, verdict};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use toml::{Table, Value};

/// Each crate, and those of ours that it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("store", &["core"]),
    ("handover", &["core"]),
    ("tls", &["core"]),
    ("relay", &["core", "handover", "tls"]),
    ("journal", &["core"]),
    ("host", &["core", "handover", "relay", "journal"]),
    ("runner", &["core", "handover", "relay", "journal", "host", "tls"]),
    ("supervisor", &["core", "tls"]),
    ("proxy", &["core", "handover", "tls"]),
    ("control", &["core", "store", "supervisor"]),
    ("api", &["core", "control"]),
    (
        "cli",
        &[
            "core",
            "store",
            "handover",
            "relay",
            "host",
            "runner",
            "supervisor",
            "proxy",
            "control",
            "api",
            "tls",
        ],
    ),
    ("testkit", &["core"]),
    (BENCH, &["core", "relay", "testkit"]),
];

/// What a crate must never use, also not in its tests, and why.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    (
        "core",
        &[
            "axum",
            "chrono",
            "clap",
            "getrandom",
            "hyper",
            "libc",
            "nix",
            "rand",
            "reqwest",
            "rusqlite",
            "rustix",
            "socket2",
            "tempfile",
            "tokio",
            "tokio-util",
            "tracing",
            "tracing-subscriber",
        ],
        "core does no I/O: time, randomness and observations are arguments",
    ),
    ("store", &["tokio", "tokio-util"], "the store is blocking; its caller wraps it"),
];

/// What only these crates may use, and why.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("rusqlite", &["store"], "all SQL is in the store"),
    ("axum", &["api"], "HTTP of the management API is in api"),
    ("clap", &["cli"], "arguments are read once, in the composition root"),
    ("anyhow", &["cli", "testkit", BENCH], "libraries have errors that name operation and subject"),
];

const TESTKIT: &str = "testkit";
/// Measures the finished program: beside `crates/`, with testkit in its program, and nothing depends on it.
const BENCH: &str = "bench";

/// Checks every crate's `Cargo.toml`.
pub(crate) fn run(root: &Path) -> Result<Verdict> {
    let mut faults = Vec::new();
    let mut folders: Vec<String> = Vec::new();
    for entry in fs::read_dir(root.join("crates")).context("failed to list crates/")? {
        folders.push(entry?.file_name().to_string_lossy().into_owned());
    }
    folders.sort();
    folders.push(BENCH.to_owned());
    for folder in &folders {
        let path = root.join(home(folder)).join("Cargo.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        faults.append(&mut check(folder, &text));
    }
    for entry in fs::read_dir(root.join(COMMANDS)).with_context(|| format!("failed to read {COMMANDS}"))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        faults.append(&mut past_the_api(&name, &text));
    }
    Ok(verdict(faults, format!("{} crates keep to their arrows", folders.len())))
}

/// Commands are clients of the API and of nothing else: what they could do past it, another program could not do.
const COMMANDS: &str = "crates/cli/src/commands";

/// What a command uses of ours besides the words of `core`.
fn past_the_api(name: &str, text: &str) -> Vec<String> {
    let used = text
        .split("myagent_")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next());
    let past = used.filter(|name| ARROWS.iter().any(|(folder, _)| folder == name) && *name != "core");
    past.map(|folder| {
        format!("{COMMANDS}/{name}: a command is a client of the API; it must not use {folder}")
    })
    .collect()
}

/// Where a crate is.
fn home(folder: &str) -> String {
    if folder == BENCH { folder.to_owned() } else { format!("crates/{folder}") }
}

/// What is wrong with one crate.
fn check(folder: &str, text: &str) -> Vec<String> {
    let place = format!("{}/Cargo.toml", home(folder));
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![format!("{place}: {error}")],
    };
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == folder) else {
        return vec![format!(
            "{place}: {folder} is a new crate: write a page in docs/decisions/, then add it to xtask/src/layers.rs"
        )];
    };
    let mut faults = Vec::new();
    let field = |table: &str, key: &str| manifest.get(table).and_then(|table| table.get(key)).cloned();
    if field("package", "name") != Some(Value::String(format!("myagent-{folder}"))) {
        faults.push(format!("{place}: the package must be named myagent-{folder}"));
    }
    if field("lints", "workspace") != Some(Value::Boolean(true)) {
        faults.push(format!("{place}: [lints] workspace = true is missing"));
    }
    for (dependency, value, kind) in dependencies(&manifest) {
        if value.get("workspace") != Some(&Value::Boolean(true)) {
            faults.push(format!(
                "{place}: {dependency} must be {{ workspace = true }}: versions are in the root Cargo.toml"
            ));
        }
        match dependency.strip_prefix("myagent-") {
            Some(TESTKIT) if folder == BENCH || kind == Kind::Dev && folder != "core" => {}
            Some(TESTKIT) => faults.push(format!(
                "{place}: testkit is for tests: {folder} may use it as a dev-dependency only, core not at all"
            )),
            Some(target) if !allowed.contains(&target) => {
                let allowed = if allowed.is_empty() { "none of ours".to_owned() } else { allowed.join(", ") };
                faults.push(format!(
                    "{place}: the arrow {folder} → {target} is not allowed ({folder} may use: {allowed})"
                ));
            }
            _ => {}
        }
        for (name, external, reason) in FORBIDDEN {
            if *name == folder && external.contains(&dependency.as_str()) {
                faults.push(format!("{place}: {folder} must not use {dependency}: {reason}"));
            }
        }
        for (external, homes, reason) in ONLY_IN {
            if *external == dependency && kind == Kind::Normal && !homes.contains(&folder) {
                faults
                    .push(format!("{place}: {dependency} belongs in {} only: {reason}", homes.join(" and ")));
            }
        }
    }
    faults
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Dev,
}

/// Every dependency: name, what stands behind it, kind; those of a target too.
fn dependencies(manifest: &Table) -> Vec<(String, Value, Kind)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = std::iter::once(manifest).chain(targets.filter_map(Value::as_table));
    let mut found = Vec::new();
    for table in tables {
        for (section, kind) in [
            ("dependencies", Kind::Normal),
            ("build-dependencies", Kind::Normal),
            ("dev-dependencies", Kind::Dev),
        ] {
            for (name, value) in table.get(section).and_then(Value::as_table).into_iter().flatten() {
                found.push((name.clone(), value.clone(), kind));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(folder: &str, rest: &str) -> Vec<String> {
        check(folder, &format!("[package]\nname = \"myagent-{folder}\"\n[lints]\nworkspace = true\n{rest}"))
    }

    #[test]
    fn a_command_that_goes_past_the_api_is_named() {
        let text =
            "use myagent_core::view::RuleView;\nuse myagent_store::Store;\nlet x = \"myagent-manager\";";
        let faults = past_the_api("list.rs", text);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("list.rs") && faults[0].ends_with("use store"), "{faults:?}");
    }

    #[test]
    fn arrows_that_are_allowed_pass() {
        assert_eq!(
            manifest("proxy", "[dependencies]\nmyagent-core.workspace = true\ntokio.workspace = true"),
            [""; 0]
        );
        assert_eq!(manifest("proxy", "[dev-dependencies]\nmyagent-testkit.workspace = true"), [""; 0]);
        assert_eq!(
            manifest("testkit", "[dependencies]\nmyagent-core.workspace = true\nanyhow.workspace = true"),
            [""; 0]
        );
        assert_eq!(
            manifest("bench", "[dependencies]\nmyagent-testkit.workspace = true\nanyhow.workspace = true"),
            [""; 0]
        );
    }

    #[test]
    fn arrows_that_are_not_are_named() {
        let check = |folder: &str, rest: &str, expected: &str| {
            let faults = manifest(folder, rest);
            assert!(faults.len() == 1 && faults[0].contains(expected), "{faults:?}");
        };
        check(
            "proxy",
            "[dependencies]\nmyagent-store.workspace = true",
            "the arrow proxy → store is not allowed (proxy may use: core, handover, tls)",
        );
        check("core", "[dependencies]\nmyagent-relay.workspace = true", "core may use: none of ours");
        check("api", "[build-dependencies]\nmyagent-proxy.workspace = true", "api → proxy");
        check("api", "[target.'cfg(unix)'.dependencies]\nmyagent-store.workspace = true", "api → store");
        check("relay", "[dev-dependencies]\nmyagent-host.workspace = true", "relay → host");
        check("cli", "[dependencies]\nmyagent-testkit.workspace = true", "dev-dependency only");
        check("core", "[dev-dependencies]\nmyagent-testkit.workspace = true", "core not at all");
        check("core", "[dependencies]\ntokio.workspace = true", "core must not use tokio: core does no I/O");
        check("core", "[dev-dependencies]\nrustix.workspace = true", "must not use rustix");
        check("store", "[dependencies]\ntokio.workspace = true", "store must not use tokio");
        check(
            "relay",
            "[dependencies]\nanyhow.workspace = true",
            "anyhow belongs in cli and testkit and bench only",
        );
        check("relay", "[dependencies]\nbytes = \"1\"", "versions are in the root");
        check("cli", "[dev-dependencies]\nmyagent-bench.workspace = true", "cli → bench is not allowed");
        check(
            "bench",
            "[dependencies]\nmyagent-store.workspace = true",
            "bench/Cargo.toml: the arrow bench → store",
        );
        check("extra", "", "docs/decisions/");
    }

    #[test]
    fn each_crate_has_its_name_and_the_lints() {
        let faults = check("core", "[package]\nname = \"core\"");
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(check("core", "[package").len() == 1);
    }

    #[test]
    fn the_arrows_have_no_cycle() {
        for (position, (name, allowed)) in ARROWS.iter().enumerate() {
            for target in *allowed {
                let earlier = ARROWS[..position].iter().any(|(earlier, _)| earlier == target);
                assert!(earlier, "{name} → {target}: list what is used before its users");
            }
        }
    }
}
