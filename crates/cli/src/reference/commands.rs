//! `cli.md`: every command with its arguments, from the table that the parser reads.

use super::{MADE, code, head, row};
use crate::cli::Cli;
use clap::{Arg, ArgAction, Command, CommandFactory};

pub(super) fn page() -> String {
    let mut program = Cli::command();
    program.build();
    let mut page = format!(
        "{MADE}\n\n# Command line\n\n\
         `myagent-manager COMMAND --help` says the same. Data goes to standard output, everything else to standard error. \
         Exit codes are in [errors.md](errors.md).\n\n\
         ## Options of every command\n\n"
    );
    page += &table(program.get_arguments().filter(|arg| arg.is_global_set()));
    for command in program.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let name = command.get_name().to_owned();
        page += &section(command, &name);
        for below in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            let name = format!("{name} {}", below.get_name());
            page += &section(below, &name);
        }
    }
    page
}

fn section(command: &mut Command, name: &str) -> String {
    let text = |text: Option<&clap::builder::StyledStr>| text.map(ToString::to_string).unwrap_or_default();
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let usage: Vec<&str> = usage.lines().map(str::trim).collect();
    let mut section = format!(
        "\n## {}\n\n{}.\n\n```text\n{}\n```\n",
        name,
        text(command.get_about()).trim_end_matches('.'),
        usage.join("\n")
    );
    let own = |arg: &&Arg| !arg.is_global_set() && arg.get_id() != "help";
    if command.get_arguments().any(|arg| own(&arg)) {
        section += "\n";
        section += &table(command.get_arguments().filter(own));
    }
    let after = text(command.get_after_help());
    let (examples, remarks): (Vec<&str>, Vec<&str>) =
        after.lines().map(str::trim).partition(|line| line.starts_with("myagent-manager "));
    section += "\n```sh\n";
    section += &examples.join("\n");
    section += "\n```\n";
    let remarks: Vec<&str> =
        remarks.into_iter().filter(|line| !line.is_empty() && !line.starts_with("Example")).collect();
    if !remarks.is_empty() {
        section.push('\n');
        section += &remarks.join("\n");
        section.push('\n');
    }
    section
}

fn table<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let mut table = head(["argument", "meaning"]);
    for arg in arguments.filter(|arg| !arg.is_hide_set()) {
        table += &row([&code(&spelling(arg)), &meaning(arg)]);
    }
    table
}

/// As it is typed: `--format FORMAT`, `-q, --quiet`, `NAME…`.
fn spelling(arg: &Arg) -> String {
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let values: Vec<&str> =
        arg.get_value_names().unwrap_or_default().iter().map(clap::builder::Str::as_str).collect();
    let values = values.join(" ");
    if arg.is_positional() {
        let many = arg.get_num_args().is_some_and(|number| number.max_values() > 1);
        return if many { format!("{values}…") } else { values };
    }
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    let flags = flags.join(", ");
    if takes_value { format!("{flags} {values}") } else { flags }
}

/// What it is for, what it takes, what it is without.
fn meaning(arg: &Arg) -> String {
    let mut meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let possible: Vec<String> =
        arg.get_possible_values().iter().map(|value| code(value.get_name())).collect();
    if takes_value && !possible.is_empty() {
        meaning += &[": ", &possible.join(", "), ""].concat();
    }
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| code(&value.to_string_lossy())).collect();
    if takes_value && !defaults.is_empty() {
        meaning += &[" [default: ", &defaults.join(", "), "]"].concat();
    }
    let aliases: Vec<String> = arg
        .get_visible_aliases()
        .unwrap_or_default()
        .iter()
        .map(|alias| code(&format!("--{alias}")))
        .collect();
    if !aliases.is_empty() {
        meaning += &[" [also: ", &aliases.join(", "), "]"].concat();
    }
    meaning
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_has_its_place() {
        let page = page();
        for expected in [
            "\n## register\n",
            "\n## completions\n",
            "| `--format FORMAT` | Form of the data on standard output: `table`, `json` [default: `table`] |",
            "| `-q, --quiet` |",
            "| `NAME` |",
            "| `COMMAND…` |",
            "| `--env KEY=VALUE` |",
            "[also: `--tag`]",
            "\n```sh\nmyagent-manager up\n```\n",
        ] {
            assert!(page.contains(expected), "{expected} is not in\n{page}");
        }
        assert!(!page.contains("\n## help\n"));
    }
}
