//! Numbers, times and foreign text as people read them. Pure.

use jiff::Timestamp;
use std::time::Duration;

/// `5 s`, `3 min`, `2 h`, `4 d`: how long before `now` that was.
pub(crate) fn ago(now: Timestamp, then: Timestamp) -> String {
    seconds((now.as_second() - then.as_second()).max(0))
}

/// `in 5 s`, or `now`.
pub(crate) fn until(now: Timestamp, then: Timestamp) -> String {
    let left = then.as_second() - now.as_second();
    if left <= 0 { "now".to_owned() } else { format!("in {}", seconds(left)) }
}

fn seconds(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `340 ms`, `1.2 s`, `3 min`: how long something took.
pub(crate) fn span(time: Duration) -> String {
    match time.as_secs() {
        0 if time.as_millis() == 0 => "< 1 ms".to_owned(),
        0 => format!("{} ms", time.as_millis()),
        1..10 => format!("{:.1} s", time.as_secs_f64()),
        whole => seconds(i64::try_from(whole).unwrap_or(i64::MAX)),
    }
}

/// `2026-11-22T10:45:01.123Z`: always as wide, so that lines stand under each other.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// `1.5 KiB`, `20 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 10.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Text of others without what would move the cursor or end the line.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `1 service`, `3 services`.
pub(crate) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_well() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (then, expected) in
            [(1_000_000, "0 s"), (999_900, "100 s"), (999_000, "16 min"), (990_000, "2 h"), (500_000, "5 d")]
        {
            assert_eq!(ago(at(1_000_000), at(then)), expected);
        }
        assert_eq!(ago(at(5), at(9)), "0 s");
        for (millis, expected) in
            [(0, "< 1 ms"), (999, "999 ms"), (1_250, "1.2 s"), (59_000, "59 s"), (600_000, "10 min")]
        {
            assert_eq!(span(Duration::from_millis(millis)), expected);
        }
        assert_eq!((until(at(5), at(9)).as_str(), until(at(9), at(5)).as_str()), ("in 4 s", "now"));
        assert_eq!(time(at(0)), "1970-01-01T00:00:00.000Z");
        for (number, expected) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (20 << 20, "20 MiB"), (3 << 40, "3.0 TiB")]
        {
            assert_eq!(bytes(number), expected);
        }
        assert_eq!(plain("a\x1b[2Jb\nc"), "a [2Jb c");
        assert_eq!(
            (count(1, "service"), count(0, "service")),
            ("1 service".to_owned(), "0 services".to_owned())
        );
    }
}
