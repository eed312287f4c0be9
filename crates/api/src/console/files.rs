//! The files of the web console, as its build wrote them. They are in the binary, in debug builds too.

use axum::body::Bytes;
use rust_embed::Embed;
use std::borrow::Cow;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) bytes: Bytes,
    /// Names its content; another content has another one.
    pub(super) tag: String,
}

/// Where files come from.
pub(super) trait Files {
    /// The file of this path, such as `assets/index-B1x.js`.
    fn get(&self, path: &str) -> Option<File>;
}

/// What Vite wrote; nothing, if the console was not built before the program.
#[derive(Embed)]
#[folder = "../../console/dist"]
#[allow_missing = true]
struct Dist;

/// The files in the binary.
pub(super) struct Embedded;

impl Files for Embedded {
    fn get(&self, path: &str) -> Option<File> {
        let file = Dist::get(path)?;
        let bytes = match file.data {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        let hash = file.metadata.sha256_hash();
        let (start, _) = hash.split_first_chunk()?;
        let tag = format!("{:032x}", u128::from_be_bytes(*start));
        Some(File { bytes, tag })
    }
}

/// The media type of a file, by its name.
pub(super) fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "ttf" => "font/ttf",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}
