//! "Did you mean …?": the nearest of the known names.

/// The known name nearest to `name`, if it is near enough to be a slip of the finger: at most a third of it differs, or
/// one begins with the other.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .filter_map(|candidate| {
            let distance = distance(name, candidate);
            let prefix = name.len() >= 3 && (candidate.starts_with(name) || name.starts_with(candidate));
            (prefix || distance * 3 <= name.chars().count().max(3)).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance (Levenshtein 1966), one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_seen_and_strangers_are_not() {
        let known = ["weather", "support", "legacy-crm"];
        for (name, expected) in [
            ("wether", Some("weather")),
            ("waether", Some("weather")),
            ("suport", Some("support")),
            ("legacy", Some("legacy-crm")),
            ("billing", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), expected, "{name}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
