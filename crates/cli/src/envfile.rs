//! `.env` files: `KEY=VALUE` lines, `#` comments, an optional `export`, single or double quotes around the value. Pure.

/// Reads the text of a file; the error names the line.
pub(crate) fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()))
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| format!("line {} is not KEY=VALUE", index + 1))?;
        let value =
            unquote(value).ok_or_else(|| format!("line {}: the closing quote is missing", index + 1))?;
        variables.push((name.to_owned(), value));
    }
    Ok(variables)
}

fn unquote(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        return rest.split_once('\'').map(|(inside, _)| inside.to_owned());
    }
    let Some(rest) = value.strip_prefix('"') else {
        // A comment begins after a space, so that `#` may stand inside a value.
        return Some(value.split_once(" #").map_or(value, |(value, _)| value.trim_end()).to_owned());
    };
    let mut inside = String::new();
    let mut characters = rest.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return Some(inside),
            '\\' => match characters.next()? {
                'n' => inside.push('\n'),
                't' => inside.push('\t'),
                'r' => inside.push('\r'),
                other => inside.push(other),
            },
            other => inside.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_in_such_files_is_read() {
        let text = "\n# a comment\nA=1\nexport B = two words # why\nC='a # b \"c\"'\nD=\"x\\n\\\"y\\\"\" # d\nE=\nF=a#b=c\n";
        let read = parse(text).unwrap();
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "a # b \"c\""),
            ("D", "x\n\"y\""),
            ("E", ""),
            ("F", "a#b=c"),
        ];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(parse("A=1\nnonsense").unwrap_err(), "line 2 is not KEY=VALUE");
        assert_eq!(parse("=1").unwrap_err(), "line 1 is not KEY=VALUE");
        assert_eq!(parse("A=\"x").unwrap_err(), "line 1: the closing quote is missing");
        assert_eq!(parse("A='x").unwrap_err(), "line 1: the closing quote is missing");
    }
}
