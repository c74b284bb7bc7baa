//! Paths that need no token.

use regex_lite::{Regex, RegexBuilder};
use thiserror::Error;

/// The longest path, in bytes, that may need no token: matching takes time in proportion to it.
const LONGEST_PATH: usize = 4096;

/// The most bytes that a regular expression may take once compiled: the other factor of the time
/// that matching takes.
const LARGEST_REGEX: usize = 32 * 1024;

/// A path, or an anchored regular expression for paths.
#[derive(Clone, Debug)]
pub struct Exclude {
    text: String,
    regex: Option<Regex>,
}

/// Why a text is no [`Exclude`]: what was expected instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExcludeError {
    /// Neither kind.
    #[error("a path such as /healthz, or a regular expression for paths")]
    NotPath,
    /// A regular expression with a mistake, or a large one, such as `/(a{1,100}){1,100}`.
    #[error("a regular expression that takes at most {LARGEST_REGEX} bytes when compiled ({0})")]
    Regex(#[from] regex_lite::Error),
}

impl Exclude {
    /// Text with a character that only means something in a regular expression is one; `.` and
    /// `-` are in ordinary paths.
    pub fn parse(text: &str) -> Result<Self, ExcludeError> {
        const REGEX_CHARACTERS: [char; 12] =
            ['\\', '^', '$', '*', '+', '?', '(', ')', '[', ']', '{', '|'];
        let regex = if text.contains(REGEX_CHARACTERS) {
            // On its own too: "/a)|(?:/b" is none, and would undo the anchors.
            compile(text)?;
            Some(compile(&format!("^(?:{text})$"))?)
        } else if text.starts_with('/') {
            None
        } else {
            return Err(ExcludeError::NotPath);
        };
        Ok(Self {
            text: text.to_owned(),
            regex,
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

fn compile(text: &str) -> Result<Regex, ExcludeError> {
    let regex = RegexBuilder::new(text).size_limit(LARGEST_REGEX).build();
    regex.map_err(ExcludeError::Regex)
}

/// Whether a request to this `:path` needs no token. A path that is long or not in normal form
/// never does: what it means to the upstream is uncertain.
pub fn is_excluded(excludes: &[Exclude], path_and_query: &str) -> bool {
    let path = path_and_query.split('?').next().unwrap_or_default();
    path.len() <= LONGEST_PATH
        && is_normal(path)
        && excludes.iter().any(|exclude| exclude.matches(path))
}

/// Whether every server reads the same segments out of a path, however often it decodes it and
/// whatever it does with parameters, backslashes or odd characters.
///
/// Each segment but the last has a character, and none consists of dots and spaces alone; all of its
/// characters are plain ones.
fn is_normal(path: &str) -> bool {
    let Some(path) = path.strip_prefix('/') else {
        return false;
    };
    let mut segments = path.split('/');
    let last = segments.next_back().unwrap_or_default();
    (last.is_empty() || is_plain_segment(last)) && segments.all(is_plain_segment)
}

/// RFC 3986 §3.3, `segment-nz`, without what two servers may read in two ways.
fn is_plain_segment(segment: &str) -> bool {
    let Some(decoded) = decoded(segment) else {
        return false;
    };
    // Windows leaves out dots and spaces at the end, so that these may be steps up as well.
    decoded.chars().any(|c| !matches!(c, '.' | ' '))
}

/// The characters of a segment, if they are all plain, as they are or escaped.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(is_plain(byte).then_some(byte)?);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        let byte = u8::try_from(high * 16 + low).ok()?;
        bytes.push(may_be_escaped(byte).then_some(byte)?);
    }
    // Overlong forms (`%c0%ae` for a dot) are no UTF-8.
    let text = String::from_utf8(bytes).ok()?;
    text.chars()
        .all(|c| c.is_ascii() || is_letter(c))
        .then_some(text)
}

/// RFC 3986 §3.3, `pchar`, and what browsers do not escape either. `;` begins parameters that some
/// servers take off: `/admin;.css` is `/admin` to them.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@[]|^".contains(&byte)
}

/// What clients escape for a reason. RFC 3986 §6.2.2.2: a normal form has no escaped unreserved
/// characters. Delimiters (`/`, `\\`, `;`, `?`, `#`), `%` and control characters could mean something
/// to a server that decodes them once more. Bytes above ASCII are judged as characters.
fn may_be_escaped(byte: u8) -> bool {
    b" !\"$&'()*+,:<=>@[]^`{|}".contains(&byte) || !byte.is_ascii()
}

/// Letters, and the signs that belong to letters. Punctuation and symbols are none: there are dots
/// and slashes among them (`U+FF0E`, `U+2044`) that some servers take for those of ASCII.
fn is_letter(c: char) -> bool {
    let is_accent = |c| matches!(c, '\u{300}'..='\u{36f}');
    let is_indic_or_thai = |c| matches!(c, '\u{900}'..='\u{eff}');
    c.is_alphabetic() || is_accent(c) || is_indic_or_thai(c)
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
            "",
            "*",
            "http://other/static/x",
            // Dot segments, as they are, escaped once and twice, overlong, of other dots.
            "/static/../admin",
            "/static/..",
            "/static/.",
            "/static/./x",
            "/static/.../x",
            "/static/%2e%2e/admin",
            "/static/%2E./admin",
            "/static/.%2e/admin",
            "/static/%252e%252e/admin",
            "/static/%25252e./admin",
            "/static/%c0%ae%c0%ae/admin",
            "/static/%e0%80%ae%e0%80%ae/admin",
            "/static/%f0%80%80%ae./admin",
            "/static/%u002e%u002e/admin",
            "/static/%ef%bc%8e%ef%bc%8e/admin",
            "/static/%e2%80%a5/admin",
            "/static/%e2%80%a4%e2%80%a4/admin",
            "/static/..%20/admin",
            "/static/.%20./admin",
            "/static/%20/admin",
            // Parameters.
            "/static/..;/admin",
            "/static/..;x=y/admin",
            "/static/..%3b/admin",
            "/static/..%3B/admin",
            "/static/%2e%2e;/admin",
            "/static/..%253b/admin",
            "/admin;.css",
            "/;/admin",
            // Slashes and backslashes.
            "/static//x",
            "//static/x",
            "//",
            "/static/..%2fadmin",
            "/static/a%2fb",
            "/static/a%2Fb",
            "/static/a%252fb",
            "/static/..%c0%afadmin",
            "/static/..%e0%80%afadmin",
            "/static/..%ef%bc%8fadmin",
            "/static/..%e2%81%84admin",
            "/static/..%e2%88%95admin",
            "/static/..%5Cadmin",
            "/static/..\\admin",
            "/static/..%255cadmin",
            "/static/..%ef%bc%bcadmin",
            // Control characters.
            "/static/x%00",
            "/static/x%0d%0aHost:x",
            "/static/%09x",
            "/static/%1f",
            "/static/%7f",
            "/static/%c2%85",
            "/static/x\t",
            "/static/x\u{7f}",
            "/static/x\u{85}",
            "/static/%e2%80%8b",
            "/static/%e2%80%ae",
            "/static/%ef%bb%bf",
            // Other delimiters, once decoded.
            "/static/a%3fb",
            "/static/a%23b",
            "/static/a%25b",
            // What is escaped without need, and what is no escape.
            "/%61dmin",
            "/static/%7Euser",
            "/static/a%2db",
            "/static/%",
            "/static/%2",
            "/static/%zz",
            "/static/%+2e",
            "/static/%\u{e9}",
            // What would have to be escaped.
            "/static/a b",
            "/static/caf\u{e9}",
            "/static/%e9",
            "/static/%c3",
            "/static/%c3/%a9",
            "/static/\"",
            "/static/x#",
            "/static/#/../../admin",
        ] {
            assert!(!excluded("(?s).*", path), "{path}");
            assert!(!excluded("[^x]*", path), "{path}");
        }
    }

    #[test]
    fn what_clients_send_to_open_paths_is_normal() {
        for path in [
            "/",
            "/static/",
            "/static/a/b.css",
            "/.well-known/openid-configuration",
            "/static/..a/b..",
            "/static/a%20b",
            "/static/caf%C3%A9",
            "/static/cafe%cc%81",
            "/static/%E6%97%A5%E6%9C%AC.html",
            "/static/%E0%A4%B9%E0%A4%BF%E0%A4%A8%E0%A5%8D%E0%A4%A6%E0%A5%80",
            "/@scope/a:b+c,d=e!f$g&h'(i)*",
            "/%40scope/a%3Ab%2Bc%2Cd%3De",
            "/v1/items[0]|x^y~z",
            "/static/x?../..//;%2f\\",
        ] {
            assert!(excluded("/.*", path), "{path}");
        }
    }

    #[test]
    fn a_long_path_is_never_exempt() {
        let path = |length| format!("/{}", "a".repeat(length - 1));
        assert!(excluded("/a*", &path(LONGEST_PATH)));
        assert!(!excluded("/a*", &path(LONGEST_PATH + 1)));
        assert!(!excluded(&path(LONGEST_PATH + 1), &path(LONGEST_PATH + 1)));
        // The query does not count.
        assert!(excluded("/a", &format!("/a?{}", path(LONGEST_PATH))));
    }

    #[test]
    fn the_size_of_an_expression_is_bounded() {
        for text in [
            "/(a{1,100}){1,100}",
            "/((a{1,10}){1,10}){1,10}",
            "/a{1,100000}",
            "/a{4294967295}",
            "/(){1000000000}",
            "/(?:){1000000000}",
            "/(?:(?:){1000000}){1000000}",
            "/(a?){1000000000}",
            &"(".repeat(10_000),
            &format!("/{}*", "a".repeat(1_000_000)),
        ] {
            let error = Exclude::parse(text).unwrap_err();
            assert!(matches!(error, ExcludeError::Regex(_)), "{text:.30}");
        }
        for text in [
            "/static/.*",
            "/(css|js|img|fonts)/[A-Za-z0-9_./-]+\\.(css|js|png|svg|woff2?)",
            "/static/[0-9a-f]{128}\\.js",
            "/v[0-9]{1,3}/(health|ready|live)z?",
            "/users/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/avatar",
        ] {
            assert!(Exclude::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_neither_path_nor_expression_is_an_error() {
        for text in ["", "healthz", "/a(", "/a[", "*", "/a)|(?:/b"] {
            assert!(Exclude::parse(text).is_err(), "{text}");
        }
    }
}
