//! The page: files that are part of the program.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// A file of the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    pub(super) path: &'static str,
    media_type: &'static str,
    content: &'static str,
    /// Anybody may have it: what the form for the token is made of.
    pub(super) is_open: bool,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const HTML: &str = "text/html; charset=utf-8";

/// All but the page itself.
pub(super) const FILES: [File; 7] = [
    file("/app.js", SCRIPT, include_str!("../../page/app.js"), false),
    file("/view.js", SCRIPT, include_str!("../../page/view.js"), false),
    file("/charts.js", SCRIPT, include_str!("../../page/charts.js"), false),
    file("/details.js", SCRIPT, include_str!("../../page/details.js"), false),
    file("/tasks.js", SCRIPT, include_str!("../../page/tasks.js"), false),
    file("/style.css", STYLE, include_str!("../../page/style.css"), true),
    file("/favicon.svg", IMAGE, include_str!("../../page/favicon.svg"), true),
];

const INDEX: File = file("/", HTML, include_str!("../../page/index.html"), false);
/// What whoever shows no token sees instead of the page.
pub(super) const LOGIN: File = file("/", HTML, include_str!("../../page/login.html"), true);

const fn file(
    path: &'static str,
    media_type: &'static str,
    content: &'static str,
    is_open: bool,
) -> File {
    File { path, media_type, content, is_open }
}

impl File {
    /// A browser asks each time, so that a page never mixes the files of two versions.
    pub(super) fn response(self) -> Response {
        let headers =
            [(header::CONTENT_TYPE, self.media_type), (header::CACHE_CONTROL, "no-cache")];
        (headers, self.content).into_response()
    }
}

/// `GET /`.
pub(super) async fn index() -> Response {
    INDEX.response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_nobody_else_for_anything() {
        for File { path, content, .. } in FILES.into_iter().chain([INDEX, LOGIN]) {
            // The name of a namespace is the only address that may stand anywhere.
            let content = content.replace("http://www.w3.org/2000/svg", "");
            for sign in ["http://", "https://", "//cdn", "@import", "url(", "innerHTML", "eval("] {
                assert!(!content.contains(sign), "{path} has {sign:?}");
            }
        }
    }

    #[test]
    fn the_page_names_only_what_there_is_and_has_no_code_or_style_of_its_own() {
        let others = ["/api/summary", "/metrics"];
        for page in [INDEX, LOGIN] {
            for attribute in ["src=\"", "href=\""] {
                for part in page.content.split(attribute).skip(1) {
                    let target = part.split('"').next().unwrap_or_default();
                    let is_file = FILES.iter().any(|file| file.path == target);
                    let is_there = is_file || target.starts_with('#') || others.contains(&target);
                    assert!(is_there, "{target:?}");
                }
            }
            for inline in ["<style", "style=\"", "onclick", "javascript:"] {
                assert!(!page.content.contains(inline), "{inline}");
            }
            let scripts = page.content.matches("<script").count();
            assert_eq!(scripts, page.content.matches("<script type=\"module\" src=").count());
        }
    }
}
