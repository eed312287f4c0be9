//! `errors.md`: the codes of errors with their HTTP status, and the exit codes of the program.

use super::{MADE, code, head, row};
use crate::exit;
use myagent_core::Code;

/// A fragment as a sentence.
fn sentence(fragment: &str) -> String {
    let mut letters = fragment.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    first.chain(letters).collect::<String>() + "."
}

pub(super) fn page() -> String {
    let mut page = format!(
        "{MADE}\n\n# Errors\n\n\
         ## Codes\n\n\
         An error of the HTTP API is an RFC 9457 `application/problem+json` with a stable `code`, a `type` that leads to a page of the manager about it, a `detail` for people, a \
         `request_id` (that of a fault of ours, 5xx, also stands in the manager's log), and in `errors` every field at fault. A program may act on the \
         code; the text may change.\n\n"
    );
    page += &head(["code", "status", "meaning"]);
    for error in Code::ALL {
        page += &row([&code(&error.to_string()), &error.status().to_string(), error.meaning()]);
    }
    for error in Code::ALL {
        let (meaning, remedy) = (sentence(error.meaning()), sentence(error.remedy()));
        page.extend([format!("\n### {error}\n\n{meaning} {remedy}\n")]);
    }
    page += "\n## Exit codes\n\n";
    page += &head(["code", "meaning"]);
    for (number, meaning) in exit::MEANINGS {
        page += &row([&number.to_string(), meaning]);
    }
    page
}
