//! What a client's request says about where it wants to go.

/// The parts of a request that routing reads. Borrowed from the request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The service it names: `/s/<name>/…` in the path, else `?service=<name>`.
    pub service: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// Reads a request target (`/path?query`).
    pub fn of_target(target: &'a str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let in_path = path
            .strip_prefix("/s/")
            .map(|rest| rest.split('/').next().unwrap_or(rest))
            .filter(|name| !name.is_empty());
        let in_query = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, value)| *name == "service" && !value.is_empty())
            .map(|(_, value)| value);
        Self { service: in_path.or(in_query) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_in_the_path_or_in_the_query() {
        for (target, service) in [
            ("/", None),
            ("/chat?x=1", None),
            ("/s/", None),
            ("/s/weather", Some("weather")),
            ("/s/weather/ws?service=other", Some("weather")),
            ("/ws?a=b&service=weather", Some("weather")),
            ("/?service=", None),
            ("/?service", None),
            ("/sx/weather", None),
        ] {
            assert_eq!(Request::of_target(target).service, service, "{target}");
        }
    }
}
