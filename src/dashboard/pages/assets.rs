//! What pages are drawn with. It is part of the program: no page asks another host for anything.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use minijinja::Value;

use crate::chart;
use crate::dashboard::text::context;
use crate::flags::sha256_hex;

/// The look of pages, and of the pictures that the rest of the program draws.
static STYLE: LazyLock<String> =
    LazyLock::new(|| format!("{}{}", include_str!("../assets/style.css"), chart::style::RULES));

/// Name, type and text of each.
static ASSETS: LazyLock<[(&str, &str, &str); 4]> = LazyLock::new(|| {
    [
        ("style.css", "text/css; charset=utf-8", STYLE.as_str()),
        ("theme.js", "text/javascript; charset=utf-8", include_str!("../assets/theme.js")),
        ("panel.js", "text/javascript; charset=utf-8", include_str!("../assets/panel.js")),
        ("icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
    ]
});

/// Changes with any of them, so that what browsers keep is never an old one.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all: String = ASSETS.iter().map(|(_, _, text)| *text).collect();
    sha256_hex(all.as_bytes()).chars().take(12).collect()
});

/// The addresses of all of them.
pub fn links() -> Value {
    let link = |name: &str| format!("/assets/{}/{name}", *VERSION);
    context! {
        style => link("style.css"),
        theme => link("theme.js"),
        panel => link("panel.js"),
        icon => link("icon.svg"),
    }
}

/// One of them; it needs nobody to be signed in.
pub async fn serve(Path((version, name)): Path<(String, String)>) -> Response {
    let found = ASSETS.iter().find(|(known, _, _)| *known == name).filter(|_| version == *VERSION);
    match found {
        Some((_, kind, text)) => {
            let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
            let kind = HeaderValue::from_static(kind);
            ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, kept)], *text).into_response()
        }
        None => (StatusCode::NOT_FOUND, "there is no such file").into_response(),
    }
}
