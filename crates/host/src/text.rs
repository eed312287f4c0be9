//! Small pieces of JSON text: strings borrowed from a message, values passed on as they came, timestamps.

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Deepest nesting of a client's content. Deeper ones could exhaust the stack of whoever reads them next.
const MAX_DEPTH: usize = 64;
/// Most digits of a number. Newer Pythons refuse longer ones, older ones take minutes for the longest.
const MAX_DIGITS: usize = 4300;
/// Characters of a client's own words in what it is told about them.
const MAX_EXCERPT: usize = 200;

/// A JSON string, borrowed from its message unless it has escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Str<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Str<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl std::ops::Deref for Str<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

/// What is wrong with a value, JSON, that could harm whoever reads it next.
pub(crate) fn defect(json: &str) -> Option<&'static str> {
    if json.starts_with('"') {
        return None;
    }
    let (mut depth, mut digits, mut quoted, mut escaped) = (0usize, 0usize, false, false);
    for byte in json.bytes() {
        digits = if byte.is_ascii_digit() && !quoted { digits + 1 } else { 0 };
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Some("is nested too deeply");
        }
        if digits > MAX_DIGITS {
            return Some("has a number with too many digits");
        }
    }
    None
}

/// Whether a value is nothing that could be answered: null, or a string without anything but white space, however written.
pub(crate) fn is_blank(raw: &RawValue) -> bool {
    let Some(mut rest) = raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return raw.get() == "null";
    };
    loop {
        rest = rest.trim_start();
        let Some(escape) = rest.strip_prefix('\\') else { return rest.is_empty() };
        rest = match escape.split_at_checked(1) {
            Some(("n" | "r" | "t" | "f", rest)) => rest,
            Some(("u", digits)) => {
                let (code, rest) = digits.split_at_checked(4).unwrap_or((digits, ""));
                let character = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
                if !character.is_some_and(char::is_whitespace) {
                    return false;
                }
                rest
            }
            _ => return false,
        };
    }
}

/// The beginning of what a client has sent, for telling it what is wrong: an error is no echo.
pub(crate) fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_EXCERPT) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Appends a JSON value as it came, but on one line: between tokens a line break is nothing but white space, and inside
/// a string it cannot stand.
pub(crate) fn push_line(out: &mut Vec<u8>, raw: &str) {
    if raw.as_bytes().contains(&b'\n') {
        out.extend(raw.bytes().map(|byte| if byte == b'\n' { b' ' } else { byte }));
    } else {
        out.extend_from_slice(raw.as_bytes());
    }
}

/// Appends a string as JSON.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing into memory does not fail, and a string is always representable.
    let _ = serde_json::to_writer(out, text);
}

/// A string as JSON.
pub(crate) fn quote(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

/// Appends a number.
pub(crate) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes timestamps; the date and time to the second are formatted once per second.
#[derive(Debug, Default)]
pub(crate) struct Stamp {
    second: Option<i64>,
    text: String,
}

impl Stamp {
    /// RFC 3339 in UTC with microseconds: `2026-11-22T07:16:14.409647Z`.
    pub(crate) fn write(&mut self, now: Timestamp) -> &str {
        let micros = now.as_microsecond();
        let second = micros.div_euclid(1_000_000);
        if self.second != Some(second) {
            let whole = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
            self.text = format!("{}.000000Z", whole.strftime("%Y-%m-%dT%H:%M:%S"));
            self.second = Some(second);
        }
        let mut fraction = micros.rem_euclid(1_000_000);
        let mut digits = [b'0'; 6];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
        let start = self.text.len() - 7;
        let end = self.text.len() - 1;
        self.text.replace_range(start..end, std::str::from_utf8(&digits).unwrap_or("000000"));
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_has_six_digits_and_the_right_second() {
        let mut stamp = Stamp::default();
        for text in
            ["2026-11-22T07:16:14.409647Z", "2026-11-22T07:16:14.000001Z", "2026-11-22T07:16:15.000000Z"]
        {
            assert_eq!(stamp.write(text.parse().unwrap()), text);
        }
    }

    #[test]
    fn brackets_and_digits_count_outside_of_strings() {
        fn check(text: &str, expected: Option<&str>) {
            RawValue::from_string(text.to_owned()).unwrap();
            assert_eq!(defect(text), expected, "{text}");
        }
        let deep = Some("is nested too deeply");
        check(&format!("{}{}", "[".repeat(64), "]".repeat(64)), None);
        check(&format!("{}{}", "[".repeat(65), "]".repeat(65)), deep);
        check(&format!("{{\"a\\\"[\": {:?}}}", "[".repeat(100)), None);
        check(&format!("{:?}", "[".repeat(100)), None);
        check(&format!("[{}]", vec!["[]"; 100].join(",")), None);
        let (most, long) = ("9".repeat(MAX_DIGITS), Some("has a number with too many digits"));
        check(&format!("[{most},-{most}.5]"), None);
        check(&format!("{most}9"), long);
        check(&format!("{{\"a\":-{most}9}}"), long);
        check(&format!("0.{most}9"), long);
        check(&format!("[\"{most}9\"]"), None);
    }

    #[test]
    fn white_space_is_blank_however_it_is_written() {
        fn check(text: &str, expected: bool) {
            assert_eq!(is_blank(&RawValue::from_string(text.to_owned()).unwrap()), expected, "{text}");
        }
        for blank in
            ["null", r#""""#, r#""  ""#, r#"" \n\t\r\f ""#, r#""\u0020\u00A0\u2028""#, "\"\u{2029}\""]
        {
            check(blank, true);
        }
        for text in
            ["0", "false", "{}", "[]", r#"" x""#, r#""\n.""#, r#""\\n""#, r#""\"""#, r#""\b""#, r#""\ud83d""#]
        {
            check(text, false);
        }
    }

    #[test]
    fn an_excerpt_is_cut_between_characters() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"ä".repeat(MAX_EXCERPT)), "ä".repeat(MAX_EXCERPT));
        assert_eq!(excerpt(&"ä".repeat(MAX_EXCERPT + 1)), "ä".repeat(MAX_EXCERPT) + "…");
    }

    #[test]
    fn values_go_on_one_line() {
        let mut out = Vec::new();
        push_line(&mut out, "{\n\"a\": \"b\\nc\"\n}");
        push_number(&mut out, 0);
        push_number(&mut out, u64::MAX);
        push_string(&mut out, "a\"\n");
        assert_eq!(String::from_utf8(out).unwrap(), "{ \"a\": \"b\\nc\" }018446744073709551615\"a\\\"\\n\"");
    }

    #[test]
    fn strings_are_borrowed_unless_they_have_escapes() {
        let plain: Str<'_> = serde_json::from_str("\"abc\"").unwrap();
        assert!(matches!(plain.0, Cow::Borrowed("abc")));
        let escaped: Str<'_> = serde_json::from_str("\"a\\u00e9\"").unwrap();
        assert_eq!(&*escaped, "aé");
        assert!(serde_json::from_str::<Str<'_>>("5").is_err());
    }
}
