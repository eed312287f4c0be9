//! The files of the repository: what git tracks or would track.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A text file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Relative to the root, with slashes.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
}

/// All text files, by path.
pub(crate) fn files(root: &Path) -> Result<Vec<SourceFile>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("failed to run git")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let mut files = Vec::new();
    for path in output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty()) {
        let path = String::from_utf8(path.to_vec()).context("a file name is not UTF-8")?;
        // What is deleted and not committed yet is listed too; what is not text is not ours to check.
        if let Ok(text) = fs::read_to_string(root.join(&path)) {
            files.push(SourceFile { path, text });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// How many lines of a Rust file are production code: all before a last `#[cfg(test)] mod tests { … }`.
pub(crate) fn production_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let is_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests");
    lines.windows(2).rposition(is_tests).unwrap_or(lines.len())
}

/// Whether a file holds nothing but tests and their helpers.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_module_does_not_count() {
        assert_eq!(production_lines("//! A.\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n"), 3);
        assert_eq!(production_lines("//! A.\n#[cfg(test)]\nfn helper() {}\nfn a() {}\n"), 4);
        assert_eq!(production_lines(""), 0);
        assert!(is_test_file("crates/store/tests/store/main.rs") && is_test_file("crates/a/src/b/tests.rs"));
        assert!(!is_test_file("crates/testkit/src/lib.rs"));
    }

    #[test]
    fn this_repository_has_files() {
        let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
        assert!(files.iter().any(|file| file.path == "xtask/src/tree.rs"));
        assert!(!files.iter().any(|file| file.path.starts_with("target/")));
    }
}
