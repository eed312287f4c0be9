//! The pages of `docs/reference`, made from the tables that the program itself reads, so that they cannot say what is not
//! so. `make gen` writes them; a test holds the written ones against the made ones.

mod api;
mod commands;
mod errors;
mod metrics;
mod settings;
mod timeseries;

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// The first line of each page.
const MADE: &str =
    "<!-- Made by `make gen` from the program itself: change the tables there, not this page. -->";

/// A page: the name of its file, and what makes its text.
type Page = (&'static str, fn() -> String);

/// Every page.
const PAGES: &[Page] = &[
    ("cli.md", commands::page),
    ("api.md", api::page),
    ("settings.md", settings::page),
    ("errors.md", errors::page),
    ("metrics.md", metrics::page),
    ("timeseries.md", timeseries::page),
];

/// The OpenAPI document, which is no page.
const DOCUMENT: &str = "openapi.json";

/// Writes all of them into a folder, which is made if it is missing.
pub(crate) fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .with_context(|| format!("failed to make the directory {}", folder.display()))?;
    for (name, make) in PAGES {
        let path = folder.join(name);
        fs::write(&path, make()).with_context(|| format!("failed to write {}", path.display()))?;
    }
    let path = folder.join(DOCUMENT);
    fs::write(&path, myagent_api::openapi_json())
        .with_context(|| format!("failed to write {}", path.display()))?;
    Ok(())
}

/// A row of a table; what would end a cell is escaped.
fn row<const N: usize>(cells: [&str; N]) -> String {
    let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
    format!("| {} |\n", cells.join(" | "))
}

/// The head of a table.
fn head<const N: usize>(titles: [&str; N]) -> String {
    row(titles) + &row([const { "---" }; N])
}

/// In back-ticks.
fn code(text: &str) -> String {
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_pages_are_what_the_program_says() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
        let document: Page = (DOCUMENT, myagent_api::openapi_json);
        for (name, make) in PAGES.iter().chain([&document]) {
            let written = fs::read_to_string(folder.join(name)).unwrap_or_default();
            assert!(
                written == make(),
                "docs/reference/{name} is not what the program says; write it anew with: make gen"
            );
        }
    }

    #[test]
    fn pages_are_written_into_a_folder_that_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        write(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), PAGES.len() + 1);
        assert!(write(&folder.join("cli.md")).is_err());
    }

    #[test]
    fn every_page_is_well_formed() {
        for (name, make) in PAGES {
            let text = make();
            assert!(text.starts_with(MADE) && text.ends_with('\n') && !text.ends_with("\n\n"), "{name}");
            for line in text.lines() {
                assert!(!line.ends_with(' '), "{name}: white space at the end of {line:?}");
            }
            for (title, below) in text.lines().zip(text.lines().skip(1)) {
                let columns = |line: &str| line.replace("\\|", "").matches('|').count();
                if below.starts_with("| --- |") {
                    assert_eq!(columns(title), columns(below), "{name}: {title}");
                }
            }
        }
    }

    #[test]
    fn cells_cannot_break_out() {
        assert_eq!(row(["a|b", "c\nd"]), "| a\\|b | c d |\n");
        assert_eq!(head(["x", "y"]), "| x | y |\n| --- | --- |\n");
    }
}
