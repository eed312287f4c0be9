//! What must not be shown: names behind which secrets are usually found, and the part of a target that may have them. Who writes a
//! message that a log, an event or an answer shows asks here.

/// Shown in place of a value.
pub const HIDDEN: &str = "(hidden)";

/// Names that say it as a whole.
const WHOLE: [&str; 9] =
    ["authorization", "proxyauthorization", "auth", "cookie", "setcookie", "jwt", "pwd", "sid", "sig"];
/// And those that say it with a part of theirs.
const PARTS: [&str; 7] = ["token", "secret", "password", "passwd", "credential", "signature", "passphrase"];

/// Whether a header, query parameter or cookie of this name is likely to be a secret: `Authorization`, `X-Api-Key`,
/// `access_token`, `key`…
pub fn is_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    WHOLE.contains(&plain.as_str())
        || PARTS.iter().any(|part| plain.contains(part))
        // `api_key` and `x-api-key`, not `monkey`.
        || name.rsplit(['-', '_', '.']).next().is_some_and(|last| last.eq_ignore_ascii_case("key"))
        || plain.ends_with("apikey")
}

/// A target, or a URL, without its query: `/chat?token=x` is `/chat?…`.
pub fn without_query(target: &str) -> String {
    target.split_once('?').map_or_else(|| target.to_owned(), |(path, _)| format!("{path}?…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_and_others_are_not() {
        for name in [
            "Authorization",
            "Proxy-Authorization",
            "cookie",
            "X-Api-Key",
            "api_key",
            "apikey",
            "key",
            "access_token",
            "token",
            "X-CSRF-Token",
            "client_secret",
            "password",
            "openai.api.key",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "",
            "User-Agent",
            "X-Tier",
            "monkey",
            "keyboard",
            "lang",
            "author",
            "X-API-Version",
            "session_id",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn a_target_is_shown_without_its_query() {
        assert_eq!(without_query("/chat?token=x&y"), "/chat?…");
        assert_eq!(without_query("ws://h/chat"), "ws://h/chat");
    }
}
