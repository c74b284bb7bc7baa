//! Paths that need no token.

use regex_lite::Regex;

/// A path, or an anchored regular expression for paths.
#[derive(Clone, Debug)]
pub struct Exclude {
    text: String,
    regex: Option<Regex>,
}

impl Exclude {
    /// Text with a character that only means something in a regular expression is one; `.` and
    /// `-` are in ordinary paths. `None` when it is neither a path nor a regular expression.
    pub fn parse(text: &str) -> Option<Self> {
        const REGEX_CHARACTERS: [char; 12] =
            ['\\', '^', '$', '*', '+', '?', '(', ')', '[', ']', '{', '|'];
        if !text.contains(REGEX_CHARACTERS) {
            return text.starts_with('/').then(|| Self {
                text: text.to_owned(),
                regex: None,
            });
        }
        // On its own too: "/a)|(?:/b" is none, and would undo the anchors.
        Regex::new(text).ok()?;
        let regex = Regex::new(&format!("^(?:{text})$")).ok()?;
        Some(Self {
            text: text.to_owned(),
            regex: Some(regex),
        })
    }

    /// As configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn matches(&self, path: &str) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(path),
            None => self.text == path,
        }
    }
}

/// Whether a request to this `:path` needs no token. A path that is not in normal form never
/// does: what it means to the upstream is uncertain.
pub fn is_excluded(excludes: &[Exclude], path_and_query: &str) -> bool {
    let path = path_and_query.split(['?', '#']).next().unwrap_or_default();
    is_normal(path) && excludes.iter().any(|exclude| exclude.matches(path))
}

/// No dot segments, doubled or escaped slashes, or backslashes; no escaped dots, which make dot
/// segments, and no escaped NUL.
fn is_normal(path: &str) -> bool {
    const SUSPICIOUS: [&str; 6] = ["//", "\\", "%2f", "%5c", "%2e", "%00"];
    let lower = path.to_ascii_lowercase();
    path.starts_with('/')
        && !SUSPICIOUS.iter().any(|part| lower.contains(part))
        // RFC 3986 §3.3: a dot segment may have parameters for some servers, as in `..;x`.
        && !path.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn excluded(text: &str, path: &str) -> bool {
        is_excluded(&[Exclude::parse(text).unwrap()], path)
    }

    #[test]
    fn a_path_is_literal() {
        assert!(excluded("/healthz", "/healthz"));
        assert!(excluded("/healthz", "/healthz?verbose=1"));
        assert!(excluded("/v1.0/a-b", "/v1.0/a-b"));
        for other in [
            "/healthz/",
            "/healthz/x",
            "/HEALTHZ",
            "/xhealthz",
            "/v1x0",
            "healthz",
            "",
        ] {
            assert!(!excluded("/healthz", other), "{other}");
        }
        assert!(!excluded("/v1.0", "/v1x0"));
    }

    #[test]
    fn a_regular_expression_is_anchored() {
        assert!(excluded("/static/.*", "/static/a/b.css"));
        assert!(excluded("/a|/b", "/b"));
        for other in ["/x/static/a", "/ab", "/static"] {
            assert!(
                !excluded("/static/.*", other) && !excluded("/a|/b", other),
                "{other}"
            );
        }
    }

    #[test]
    fn what_is_not_normal_is_never_exempt() {
        for path in [
            "/static/../admin",
            "/static/..",
            "/static/./x",
            "/static//x",
            "//static/x",
            "/static/%2e%2e/admin",
            "/static/%2E./admin",
            "/static/..%2fadmin",
            "/static/..%5Cadmin",
            "/static/..\\admin",
            "/static/..;/admin",
            "/static/x%00",
            "http://other/static/x",
            "*",
        ] {
            assert!(!excluded(".*", path), "{path}");
        }
        assert!(excluded(".*", "/static/a%20b"));
    }

    #[test]
    fn what_is_neither_path_nor_expression_is_an_error() {
        for text in ["", "healthz", "/a(", "/a[", "*", "/a)|(?:/b"] {
            assert!(Exclude::parse(text).is_none(), "{text}");
        }
    }
}
