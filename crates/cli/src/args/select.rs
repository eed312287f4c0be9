//! Which services a command means: names, all, or those with a tag.

use clap::Args;
use serde_json::{Value, json};

/// Names, `--all` or `--tag`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Selection {
    /// Services, by name or id.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// All services.
    #[arg(long)]
    pub(crate) all: bool,
    /// All services with this tag.
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,
}

impl Selection {
    /// The one service that is meant, if it is named.
    pub(crate) fn single(&self) -> Option<&str> {
        match self.names.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }

    /// The body of a batch request.
    pub(crate) fn to_batch(&self, action: &str, all_at_once: bool) -> Value {
        let mut body = json!({"action": action});
        if self.all {
            body["all"] = json!(true);
        } else if let Some(tag) = &self.tag {
            body["tag"] = json!(tag);
        } else {
            body["names"] = json!(self.names);
        }
        if all_at_once {
            body["all_at_once"] = json!(true);
        }
        body
    }

    /// For messages: `weather`, `3 services`, `all services`.
    pub(crate) fn describe(&self) -> String {
        match (self.names.as_slice(), &self.tag) {
            ([name], _) => name.clone(),
            ([], Some(tag)) => format!("services with the tag {tag}"),
            ([], None) => "all services".to_owned(),
            (names, _) => format!("{} services", names.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_body() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let one = Selection { names: names(&["a"]), all: false, tag: None };
        let two = Selection { names: names(&["a", "b"]), all: false, tag: None };
        let all = Selection { names: Vec::new(), all: true, tag: None };
        let tag = Selection { names: Vec::new(), all: false, tag: Some("x".to_owned()) };
        assert_eq!((one.single(), two.single(), all.single()), (Some("a"), None, None));
        assert_eq!(two.to_batch("stop", false), json!({"action": "stop", "names": ["a", "b"]}));
        assert_eq!(
            all.to_batch("restart", true),
            json!({"action": "restart", "all": true, "all_at_once": true})
        );
        assert_eq!(tag.to_batch("start", false), json!({"action": "start", "tag": "x"}));
        let described = [one, two, all, tag].map(|selection| selection.describe());
        assert_eq!(described, ["a", "2 services", "all services", "services with the tag x"]);
    }
}
