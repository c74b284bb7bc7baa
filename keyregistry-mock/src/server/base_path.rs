//! Where below its host a registry is served.

use super::routes::has_stray_percent;
use crate::error::Unexpected;
use std::str::FromStr;

/// An absolute path, kept without its closing slash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath {
    prefix: String,
}

impl BasePath {
    /// What the paths of the protocol are appended to: empty, or `/base`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl FromStr for BasePath {
    type Err = Unexpected;

    /// `/`, or an absolute path whose closing slash may be left out.
    fn from_str(path: &str) -> Result<Self, Unexpected> {
        let unexpected =
            |found| Unexpected::new(found, "an absolute path, percent-encoded, such as /base/");
        let Some(relative) = path.strip_prefix('/') else {
            return Err(unexpected(format!("{path:?} does not begin with a slash")));
        };
        let relative = relative.strip_suffix('/').unwrap_or(relative);
        if relative.is_empty() && path.len() > 1 {
            return Err(unexpected(format!("{path:?} has an empty segment")));
        }
        if relative.is_empty() {
            return Ok(Self::default());
        }
        for segment in relative.split('/') {
            check_segment(segment).map_err(|problem| unexpected(format!("{path:?} {problem}")))?;
        }
        Ok(Self {
            prefix: format!("/{relative}"),
        })
    }
}

fn check_segment(segment: &str) -> Result<(), &'static str> {
    match segment {
        "" => Err("has an empty segment"),
        // Clients resolve these away before they send anything.
        "." | ".." => Err("has a dot segment"),
        _ if has_stray_percent(segment) => Err("has a % that is no escape"),
        _ if segment.bytes().all(is_pchar) => Ok(()),
        _ => Err("has a character that must be percent-encoded"),
    }
}

/// RFC 3986 §3.3: `pchar = unreserved / pct-encoded / sub-delims / ":" / "@"`.
///
/// Braces, which the router would take for a parameter, are not among them.
fn is_pchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closing_slash_makes_no_difference() {
        for (path, prefix) in [
            ("/", ""),
            ("/base", "/base"),
            ("/base/", "/base"),
            ("/a/:b/*c/%7Bd%7D/", "/a/:b/*c/%7Bd%7D"),
        ] {
            let base_path: BasePath = path.parse().unwrap();
            assert_eq!(base_path.prefix(), prefix);
        }
    }

    #[test]
    fn what_no_request_could_ask_for_is_refused() {
        for path in [
            "", "base", "//", "/a//b", "/a//", "/{a}", "/a b", "/ä", "/a?b", "/a/../b", "/.",
            "/100%",
        ] {
            assert!(path.parse::<BasePath>().is_err(), "{path}");
        }
    }
}
