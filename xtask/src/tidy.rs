//! The shape of files: size, a paragraph at the top, no leftovers, no map that points nowhere.

use crate::tree::{self, SourceFile};
use crate::{Verdict, verdict};
use anyhow::Result;
use std::path::Path;

/// Most production lines of a Rust file.
const LIMIT: usize = 500;
/// Most lines of a file of tests.
const TEST_LIMIT: usize = 800;

/// Documents whose paths must exist.
const MAPS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "docs/testing.md"];

/// Checks every file.
pub(crate) fn run(root: &Path) -> Result<Verdict> {
    let files = tree::files(root)?;
    let mut faults: Vec<String> = files.iter().flat_map(check).collect();
    for map in files.iter().filter(|file| MAPS.contains(&file.path.as_str())) {
        faults.extend(
            dead_paths(&map.text, |path| root.join(path).exists())
                .into_iter()
                .map(|path| format!("{}: names `{path}`, which does not exist", map.path)),
        );
    }
    for page in files.iter().filter(|file| has_extension(&file.path, "md")) {
        let folder = root.join(&page.path).parent().map(Path::to_owned).unwrap_or_default();
        faults.extend(
            dead_links(&page.text, |path| folder.join(path).exists())
                .into_iter()
                .map(|path| format!("{}: links to {path}, which does not exist", page.path)),
        );
    }
    Ok(verdict(faults, sizes(&files)))
}

/// What is wrong with one file.
fn check(file: &SourceFile) -> Vec<String> {
    let SourceFile { path, text } = file;
    let mut faults = Vec::new();
    let is_rust = has_extension(path, "rs");
    if is_rust {
        let (lines, limit) = if tree::is_test_file(path) {
            (text.lines().count(), TEST_LIMIT)
        } else {
            (tree::production_lines(text), LIMIT)
        };
        if lines > limit {
            faults.push(format!(
                "{path}: {lines} lines, the limit is {limit}: it holds more than one idea, split it"
            ));
        }
        if !text.starts_with("//!") {
            faults.push(format!("{path}: must open with a //! paragraph that says what it is for"));
        }
    }
    let is_prose = has_extension(path, "md");
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        if line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") {
            faults.push(format!("{path}:{number}: a conflict marker"));
        }
        for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimplemented", "!")] {
            if (is_rust || is_prose || has_extension(path, "sh")) && has_word(line, word) {
                faults
                    .push(format!("{path}:{number}: {word}: do it, or say in prose what is missing and why"));
            }
        }
        if is_prose && line.ends_with([' ', '\t']) {
            faults.push(format!("{path}:{number}: white space at the end of the line"));
        }
    }
    faults
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// The paths in back-ticks that lead nowhere. A path is given from the root, or from `crates/`.
fn dead_paths(text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut in_block = false;
    let prose = text.lines().filter(|line| {
        in_block ^= line.trim_start().starts_with("```");
        !in_block
    });
    let quoted = prose.flat_map(|line| line.split('`').skip(1).step_by(2));
    let dead =
        |path: &&str| looks_like_path(path, &exists) && !exists(path) && !exists(&format!("crates/{path}"));
    quoted.filter(dead).map(str::to_owned).collect()
}

/// The targets of links, from the page's own folder, that lead nowhere.
fn dead_links(text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    let files = targets.filter_map(|target| target.split('#').next()).filter(|file| !file.is_empty());
    files.filter(|file| !file.contains(':') && !exists(file)).map(str::to_owned).collect()
}

fn looks_like_path(text: &str, exists: impl Fn(&str) -> bool) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if text.is_empty()
        || text.starts_with(['/', '-', '.']) && !text.starts_with(".c")
        || !text.chars().all(plain)
    {
        return false;
    }
    match text.split_once('/') {
        // What a build makes is not there in a fresh checkout.
        Some(("target", _)) => false,
        Some((first, _)) => exists(first) || exists(&format!("crates/{first}")),
        None => has_extension(text, "md"),
    }
}

/// The median and the largest file.
fn sizes(files: &[SourceFile]) -> String {
    let rust = files.iter().filter(|file| has_extension(&file.path, "rs") && !tree::is_test_file(&file.path));
    let mut sizes: Vec<(usize, &str)> =
        rust.map(|file| (tree::production_lines(&file.text), file.path.as_str())).collect();
    sizes.sort_unstable();
    let (median, _) = sizes.get(sizes.len() / 2).copied().unwrap_or_default();
    let (largest, path) = sizes.last().copied().unwrap_or_default();
    format!(
        "{} Rust files, median {median} production lines, largest {largest} ({path}), limit {LIMIT}",
        sizes.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, text: &str) -> Vec<String> {
        check(&SourceFile { path: path.to_owned(), text: text.to_owned() })
    }

    #[test]
    fn a_tidy_file_passes() {
        assert_eq!(faults("crates/a/src/lib.rs", "//! What it is for.\n\nfn a() {}\n"), [""; 0]);
        assert_eq!(faults("docs/a.md", "# A\n\nText.\n"), [""; 0]);
        assert_eq!(faults("a.py", &format!("x = '{}'  \n", concat!("TO", "DO"))), [""; 0]);
    }

    #[test]
    fn each_fault_is_told_with_its_place() {
        let check = |path: &str, text: &str, expected: &str| {
            let faults = faults(path, text);
            assert!(faults.len() == 1 && faults[0].contains(expected), "{path}: {faults:?}");
        };
        check("a.rs", &format!("//! A.\n{}", "x\n".repeat(500)), "a.rs: 501 lines, the limit is 500");
        check("crates/a/tests/a.rs", &format!("//! A.\n{}", "x\n".repeat(800)), "the limit is 800");
        check("a.rs", "fn a() {}\n", "must open with");
        check("a.rs", &format!("//! A.\n// {}: later\n", concat!("TO", "DO")), "a.rs:2: ");
        check("a.md", concat!("FIX", "ME"), "a.md:1: ");
        check("a.md", "text \n", "a.md:1: white space");
        check("a.toml", "<<<<<<< ours\n", "a.toml:1: a conflict marker");
    }

    #[test]
    fn test_modules_and_longer_words_do_not_count() {
        let tests = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "x\n".repeat(900));
        assert_eq!(faults("a.rs", &tests), [""; 0]);
        assert_eq!(faults("a.md", concat!("MY_TO", "DO")), [""; 0]);
    }

    #[test]
    fn a_map_names_only_what_exists() {
        let exists = |path: &str| {
            ["crates", "docs", "crates/core", "crates/core/src/lib.rs", "docs/a.md", ".config", "README.md"]
                .contains(&path)
        };
        let check = |text: &str, expected: &[&str]| assert_eq!(dead_paths(text, exists), expected, "{text}");
        check("`crates/core/src/lib.rs` and `core/src/lib.rs`, `docs/a.md`", &[]);
        check("`crates/gone`, `core/src/gone.rs`", &["crates/gone", "core/src/gone.rs"]);
        check("`GONE.md`, `README.md`, `.config/gone.toml`", &["GONE.md", ".config/gone.toml"]);
        check("`/api/v1`, `ws://a/b`, `cargo run`, `text/html`, `--a/b`, `a::b`, `crates/<name>`", &[]);
        check("```text\n`crates/gone`\n```\n`crates/lost`", &["crates/lost"]);
    }

    #[test]
    fn a_link_leads_to_what_exists() {
        let dead = |text: &str| dead_links(text, |path| path == "b.md");
        assert_eq!(dead("[a](b.md), [a](b.md#c), [a](#c), [a](https://x.org/y), text ](z"), [""; 0]);
        assert_eq!(dead("| [a](b.md) | [c](../d.md#e) |"), ["../d.md"]);
    }

    #[test]
    fn sizes_are_reported() {
        let file = |path: &str, lines: usize| SourceFile { path: path.to_owned(), text: "x\n".repeat(lines) };
        let files = [file("a.rs", 10), file("b.rs", 30), file("c.rs", 20), file("d/tests/e.rs", 700)];
        assert_eq!(sizes(&files), "3 Rust files, median 20 production lines, largest 30 (b.rs), limit 500");
    }
}
