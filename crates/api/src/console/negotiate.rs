//! What a client takes: the compressed form of a file, and whether it wants a page. Pure.

use axum::http::{HeaderMap, HeaderName, header};

/// How the bytes of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Brotli,
    Gzip,
}

impl Encoding {
    /// The smaller one first.
    pub(super) const ALL: [Self; 2] = [Self::Brotli, Self::Gzip];

    /// Its name in HTTP.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The end of the name of a file that is written so.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }
}

/// The encodings that the client takes, and would rather have than none, the best first.
pub(super) fn encodings(headers: &HeaderMap) -> Vec<Encoding> {
    let given: Vec<(String, f64)> = weighted(headers, &header::ACCEPT_ENCODING).collect();
    let of = |name: &str| given.iter().find(|(given, _)| given == name).map(|(_, weight)| *weight);
    let identity = of("identity").unwrap_or(0.0);
    let weight = |encoding: Encoding| {
        let alias = if encoding == Encoding::Gzip { of("x-gzip") } else { None };
        of(encoding.name()).or(alias).or(of("*")).unwrap_or(0.0)
    };
    let mut taken: Vec<(Encoding, f64)> =
        Encoding::ALL.into_iter().map(|encoding| (encoding, weight(encoding))).collect();
    taken.retain(|(_, weight)| *weight > 0.0 && *weight >= identity);
    // Stable: of two that are as welcome, the smaller one.
    taken.sort_by(|(_, left), (_, right)| right.total_cmp(left));
    taken.into_iter().map(|(encoding, _)| encoding).collect()
}

/// Whether this is a browser that goes to a page: it names HTML; scripts and tools take just anything.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    weighted(headers, &header::ACCEPT).any(|(kind, weight)| kind == "text/html" && weight > 0.0)
}

/// The entries of a header with their weights; a weight that is none counts as "not at all".
fn weighted<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = (String, f64)> + use<'a> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts
            .filter_map(|part| part.split_once('='))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case("q"));
        let weight = weight.map_or(1.0, |(_, value)| value.trim().parse().unwrap_or(0.0));
        (name, if (0.0..=1.0).contains(&weight) { weight } else { 0.0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_best_encoding_that_a_client_takes_is_found() {
        let check = |values: &[&str], expected: &[&str]| {
            let found = encodings(&headers(&header::ACCEPT_ENCODING, values));
            let names: Vec<&str> = found.into_iter().map(Encoding::name).collect();
            assert_eq!(names, expected, "{values:?}");
        };
        check(&[], &[]);
        check(&[""], &[]);
        check(&["gzip, deflate, br, zstd"], &["br", "gzip"]);
        check(&["gzip", "BR"], &["br", "gzip"]);
        check(&["x-gzip"], &["gzip"]);
        check(&["br;q=0.5, gzip;q=0.8"], &["gzip", "br"]);
        check(&["br;q=0, gzip"], &["gzip"]);
        check(&["br ; Q=0.000"], &[]);
        check(&["*"], &["br", "gzip"]);
        check(&["*;q=0"], &[]);
        check(&["br;q=0, *;q=0.1"], &["gzip"]);
        check(&["identity, gzip;q=0.9, br"], &["br"]);
        check(&["identity;q=0, deflate"], &[]);
        for strange in ["br;q=nan", "br;q=2", "br;q=-1", "br;q=", "brotli", "b r"] {
            check(&[strange], &[]);
        }
    }

    #[test]
    fn only_who_names_html_wants_a_page() {
        let check = |value: &str| wants_page(&headers(&header::ACCEPT, &[value]));
        assert!(check("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"));
        assert!(check("Text/HTML; charset=utf-8;q=0.1"));
        for other in ["*/*", "text/*", "application/json", "text/html;q=0", "text/html-like", ""] {
            assert!(!check(other), "{other}");
        }
        assert!(!wants_page(&HeaderMap::new()));
    }
}
