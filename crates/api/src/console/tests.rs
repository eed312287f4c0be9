//! What is answered for each path, with files of our own: these tests need no build of the console.

use super::*;
use std::collections::BTreeMap;

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
const HOST: (&str, &str) = ("host", "localhost:8080");

/// Files by path. Their tag is made of their content.
struct Fake(BTreeMap<&'static str, &'static str>);

impl Files for Fake {
    fn get(&self, path: &str) -> Option<File> {
        let text = *self.0.get(path)?;
        Some(File { bytes: Bytes::from_static(text.as_bytes()), tag: Sha1::from(text).digest().to_string() })
    }
}

fn built() -> Fake {
    Fake(BTreeMap::from([
        ("index.html", "<page>"),
        ("index.html.br", "page in br"),
        ("favicon.svg", "<svg/>"),
        ("assets/app-1.js", "script"),
        ("assets/app-1.js.br", "script in br"),
        ("assets/app-1.js.gz", "script in gz"),
        ("assets/font-2.woff2", "font"),
        (".vite/manifest.json", "{}"),
    ]))
}

/// What is answered by `files`.
fn ask(files: &Fake, method: &str, path: &str, given: &[(&'static str, &str)]) -> Option<Response> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        headers.append(*name, value.parse().unwrap());
    }
    let (method, uri) = (method.parse().unwrap(), path.parse().unwrap());
    let asked = Asked { method: &method, uri: &uri, headers: &headers };
    answer(files, asked, || vec!["127.0.0.1:9090".parse().unwrap()])
}

fn get(path: &str, given: &[(&'static str, &str)]) -> Option<Response> {
    ask(&built(), "GET", path, given)
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn body(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn files_come_in_the_best_encoding_that_the_client_takes_and_there_is() {
    let check = async |path: &str, takes: &str, encoding: &str, text: &str| {
        let response = get(path, &[("accept-encoding", takes)]).unwrap();
        assert_eq!(header(&response, "content-encoding"), encoding, "{path} {takes}");
        assert_eq!(header(&response, "vary").rsplit(", ").next(), Some("Accept-Encoding"));
        assert_eq!(header(&response, "content-length"), text.len().to_string());
        assert_eq!(body(response).await, text, "{path} {takes}");
    };
    check("/assets/app-1.js", "gzip, br", "br", "script in br").await;
    check("/assets/app-1.js", "gzip;q=1, br;q=0.9", "gzip", "script in gz").await;
    check("/assets/app-1.js", "br;q=0", "", "script").await;
    check("/assets/app-1.js", "", "", "script").await;
    check("/assets/font-2.woff2", "gzip, br", "", "font").await;
    check("/", "gzip, br", "br", "page in br").await;
    check("/", "gzip", "", "<page>").await;
}

#[test]
fn each_kind_of_file_has_its_media_type() {
    let kind = |path| header(&get(path, &[]).unwrap(), "content-type").to_owned();
    assert_eq!(kind("/"), "text/html; charset=utf-8");
    assert_eq!(kind("/assets/app-1.js"), "text/javascript; charset=utf-8");
    assert_eq!(kind("/assets/font-2.woff2"), "font/woff2");
    assert_eq!(kind("/favicon.svg"), "image/svg+xml");
    let script = get("/assets/app-1.js", &[("accept-encoding", "br")]).unwrap();
    assert_eq!(header(&script, "content-type"), "text/javascript; charset=utf-8");
    assert_eq!(files::media_type("assets/style-3.css"), "text/css; charset=utf-8");
    assert_eq!(files::media_type("LICENSE"), "application/octet-stream");
}

#[test]
fn files_with_a_hash_in_their_name_are_kept_and_all_others_asked_for_again() {
    let caching = |path| header(&get(path, &[]).unwrap(), "cache-control").to_owned();
    assert_eq!(caching("/assets/app-1.js"), "public, max-age=31536000, immutable");
    assert_eq!(caching("/assets/font-2.woff2"), "public, max-age=31536000, immutable");
    assert_eq!(caching("/favicon.svg"), "no-cache");
    assert_eq!(caching("/"), "no-cache");
    assert_eq!(caching("/index.html"), "no-cache");
}

#[tokio::test]
async fn what_a_client_has_already_is_not_sent_again() {
    for path in ["/", "/favicon.svg", "/assets/app-1.js"] {
        let tag = header(&get(path, &[HOST]).unwrap(), "etag").to_owned();
        assert!(tag.starts_with('"') && tag.len() > 20, "{tag}");
        for known in [tag.clone(), format!("\"a\", W/{tag}"), "*".to_owned()] {
            let response = get(path, &[HOST, ("if-none-match", &known)]).unwrap();
            assert_eq!(response.status(), 304, "{path} {known}");
            assert_eq!(header(&response, "etag"), tag);
            assert!(!response.headers().contains_key("content-length"));
            assert_eq!(body(response).await, "");
        }
        for other in ["\"a\"", "a", tag.trim_matches('"'), "", "W/*"] {
            assert_eq!(get(path, &[HOST, ("if-none-match", other)]).unwrap().status(), 200, "{path} {other}");
        }
        // Another encoding, other bytes.
        let compressed = get(path, &[HOST, ("accept-encoding", "br")]).unwrap();
        assert_eq!(header(&compressed, "etag") == tag, header(&compressed, "content-encoding").is_empty());
    }
}

#[test]
fn a_page_with_another_policy_is_another_page() {
    let tag = |host| header(&get("/", &[("host", host)]).unwrap(), "etag").to_owned();
    assert_eq!(tag("localhost:8080"), tag("localhost:8080"));
    assert_ne!(tag("localhost:8080"), tag("127.0.0.1:8080"));
}

#[tokio::test]
async fn a_head_is_told_the_length_and_gets_nothing() {
    for path in ["/", "/services/weather", "/favicon.svg", "/assets/app-1.js"] {
        let whole = get(path, &[BROWSER]).unwrap();
        let head = ask(&built(), "HEAD", path, &[BROWSER]).unwrap();
        assert_eq!((head.status(), head.headers()), (whole.status(), whole.headers()), "{path}");
        assert_eq!(body(head).await, "");
    }
}

#[tokio::test]
async fn a_browser_that_goes_to_an_unknown_path_gets_the_page() {
    for path in ["/", "/index.html", "/services/weather", "/services/a.b?tab=logs", "/apis", "/logs/", "//x"]
    {
        let response = get(path, &[BROWSER]).unwrap();
        assert_eq!((response.status().as_u16(), header(&response, "vary")), (200, "Accept, Accept-Encoding"));
        assert_eq!(body(response).await, "<page>", "{path}");
    }
    // The page itself is there for everybody.
    assert_eq!(body(get("/", &[("accept", "*/*")]).unwrap()).await, "<page>");
}

#[test]
fn nothing_is_answered_for_others_and_in_places_of_the_api() {
    for accept in ["*/*", "application/json", "image/*"] {
        assert!(get("/services/weather", &[("accept", accept)]).is_none(), "{accept}");
    }
    assert!(get("/services/weather", &[]).is_none());
    for path in [
        "/api",
        "/api/v1/nothing",
        "/docs/none.js",
        "/assets",
        "/assets/",
        "/assets/gone-9.js",
        "/openapi.json/x",
        "/metrics/x",
        "/health/x",
        "/livez/x",
        "/readyz/x",
    ] {
        assert!(get(path, &[BROWSER]).is_none(), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert!(ask(&built(), method, "/", &[BROWSER]).is_none(), "{method}");
        assert!(ask(&built(), method, "/favicon.svg", &[BROWSER]).is_none(), "{method}");
    }
}

#[test]
fn compressed_forms_and_hidden_files_are_no_files_of_their_own() {
    for path in ["/assets/app-1.js.br", "/assets/app-1.js.gz", "/index.html.br", "/.vite/manifest.json"] {
        assert!(get(path, &[]).is_none(), "{path}");
    }
}

#[test]
fn a_page_keeps_to_itself() {
    let page = get("/services", &[BROWSER, HOST]).unwrap();
    let policy = header(&page, "content-security-policy").to_owned();
    assert!(policy.contains("connect-src 'self' ws://localhost:9090 ws://127.0.0.1:9090;"), "{policy}");
    assert_eq!(header(&page, "referrer-policy"), "no-referrer");
    assert_eq!(header(&page, "cross-origin-opener-policy"), "same-origin");
    assert!(header(&page, "permissions-policy").contains("camera=()"));
    let again = get("/services", &[BROWSER, HOST, ("if-none-match", "*")]).unwrap();
    assert_eq!(header(&again, "content-security-policy"), policy);
    // The host of the target counts more than the header, and what is no host of ours is not written.
    let strange = get("http://127.0.0.2:8080/", &[("host", "a; script-src *")]).unwrap();
    let policy = header(&strange, "content-security-policy");
    assert!(policy.contains(" ws://127.0.0.2:9090 ") && !policy.contains('*'), "{policy}");
    let script = get("/assets/app-1.js", &[]).unwrap();
    assert_eq!(header(&script, "cross-origin-resource-policy"), "same-origin");
}

#[tokio::test]
async fn without_a_build_there_is_a_page_that_says_how_to_make_it() {
    let nothing = Fake(BTreeMap::new());
    for path in ["/", "/services"] {
        let response = ask(&nothing, "GET", path, &[BROWSER]).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
        assert_eq!(header(&response, "cache-control"), "no-cache");
        let text = body(response).await;
        assert!(text.contains("make console") && text.contains("href=\"/docs/\""), "{text}");
        // Its policy would not let it.
        assert!(!text.contains("<script") && !text.contains("<style") && !text.contains("src="), "{text}");
    }
    assert!(ask(&nothing, "GET", "/assets/app-1.js", &[BROWSER]).is_none());
}
