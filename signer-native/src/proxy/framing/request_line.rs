//! The first line of a request (RFC 9112 §3).
//!
//! curl and scripts send bytes in URLs that RFC 3986 does not permit, and servers take them. Most
//! pass as they are. A few do not get through the HTTP library, and raw UTF-8 not through many
//! servers, Envoy among them: these are sent percent-encoded, as browsers send them.

use super::head::is_token;
use crate::proxy::error::Malformed;
use http::Uri;
use std::borrow::Cow;

/// Refuses, with a reason, what the HTTP library would refuse without one.
pub(super) fn check(line: &[u8]) -> Result<(), Malformed> {
    let (method, target, version) = parts(line).ok_or(Malformed::RequestLine)?;
    if method.is_empty() || !method.iter().all(is_token) {
        return Err(Malformed::Method);
    }
    if !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Err(Malformed::Version);
    }
    if target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return Err(Malformed::Target);
    }
    let target = encoded_target(target);
    Uri::try_from(&*target).map_err(|_| Malformed::Target)?;
    Ok(())
}

/// The line, if it is to be sent otherwise than it came.
pub(super) fn encoded(line: &[u8]) -> Option<Vec<u8>> {
    let (method, target, version) = parts(line)?;
    match encoded_target(target) {
        Cow::Borrowed(_) => None,
        Cow::Owned(target) => Some([method, &target, version].join(&b' ')),
    }
}

/// Percent-encodes raw UTF-8 in a path and query that the HTTP library takes.
pub(in crate::proxy) fn encoded_utf8(path_and_query: &str) -> Option<String> {
    if path_and_query.is_ascii() {
        return None;
    }
    let encoded = encode(path_and_query.as_bytes(), |byte, _| !byte.is_ascii());
    String::from_utf8(encoded).ok()
}

/// Method, target and version. A target with a space in it is left whole.
fn parts(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = line.iter().position(|byte| *byte == b' ')?;
    let last = line.iter().rposition(|byte| *byte == b' ')?;
    let target = line.get(first + 1..last)?;
    Some((line.get(..first)?, target, line.get(last + 1..)?))
}

fn encoded_target(target: &[u8]) -> Cow<'_, [u8]> {
    let unusual = |byte: &u8| matches!(byte, b'"' | b'<' | b'>' | b'`' | 0x80..);
    if !target.iter().any(unusual) {
        return Cow::Borrowed(target);
    }
    let path = path(target);
    let Some((before, from)) = target.split_at_checked(path) else {
        return Cow::Borrowed(target);
    };
    let encoded = encode(from, |byte, in_query| match byte {
        b'<' | b'>' | 0x80.. => true,
        b'"' => in_query,
        b'`' => !in_query,
        _ => false,
    });
    if encoded == from {
        return Cow::Borrowed(target);
    }
    Cow::Owned([before, &encoded].concat())
}

/// Where the path begins, or the query where there is no path.
fn path(target: &[u8]) -> usize {
    let authority = target.windows(3).position(|three| three == b"://");
    let authority = match authority {
        Some(scheme) if !target.starts_with(b"/") => scheme + 3,
        _ => 0,
    };
    let rest = target.get(authority..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    end.map_or(target.len(), |end| authority + end)
}

fn encode(path_and_query: &[u8], mut is_encoded: impl FnMut(u8, bool) -> bool) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
    let mut encoded = Vec::with_capacity(path_and_query.len() + 30);
    let mut in_query = false;
    for byte in path_and_query {
        if is_encoded(*byte, in_query) {
            encoded.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            in_query |= *byte == b'?';
            encoded.push(*byte);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(target: &str) -> String {
        let line = format!("GET {target} HTTP/1.1");
        assert_eq!(check(line.as_bytes()), Ok(()), "{target}");
        let sent = encoded(line.as_bytes()).unwrap_or_else(|| line.into_bytes());
        let sent = String::from_utf8(sent).unwrap();
        let target = sent.strip_prefix("GET ").unwrap();
        target.strip_suffix(" HTTP/1.1").unwrap().to_owned()
    }

    #[test]
    fn what_gets_through_is_left_as_it_is() {
        for target in [
            "http://a.test/",
            "http://a.test/{a}|\\^[]\"'%zz?{a}|\\^[]`'%zz",
            "http://a.test?query",
            "/?%C3%A9",
            "*",
            "a.test:443",
        ] {
            assert_eq!(sent(target), target);
        }
    }

    #[test]
    fn what_does_not_is_percent_encoded() {
        for (target, expected) in [
            ("http://a.test/é?é", "http://a.test/%C3%A9?%C3%A9"),
            ("http://a.test?q={\"a\":1}", "http://a.test?q={%22a%22:1}"),
            ("/<`>?<`>", "/%3C%60%3E?%3C`%3E"),
            ("/http://é", "/http://%C3%A9"),
        ] {
            assert_eq!(sent(target), expected);
        }
        assert_eq!(encoded_utf8("/é?\u{20ac}").unwrap(), "/%C3%A9?%E2%82%AC");
        assert_eq!(encoded_utf8("/%C3"), None);
        let latin1 = b"GET /\xe9 HTTP/1.1";
        assert_eq!(check(latin1), Ok(()));
        assert_eq!(encoded(latin1).unwrap(), b"GET /%E9 HTTP/1.1");
    }

    #[test]
    fn what_is_refused_has_a_reason() {
        for (line, problem) in [
            (&b"GET"[..], Malformed::RequestLine),
            (b"GET /", Malformed::RequestLine),
            (b" / HTTP/1.1", Malformed::Method),
            (b"G{T / HTTP/1.1", Malformed::Method),
            (b"GET / HTTP/2.0", Malformed::Version),
            (b"GET / http/1.1", Malformed::Version),
            (b"GET /a b HTTP/1.1", Malformed::Target),
            (b"GET  / HTTP/1.1", Malformed::Target),
            (b"GET /\x7f HTTP/1.1", Malformed::Target),
            (b"GET /\x01 HTTP/1.1", Malformed::Target),
            (b"GET http://a<b/ HTTP/1.1", Malformed::Target),
            ("GET http://é.test/ HTTP/1.1".as_bytes(), Malformed::Target),
        ] {
            assert_eq!(check(line), Err(problem), "{line:?}");
        }
        let long = format!("GET /{} HTTP/1.1", "a".repeat(70_000));
        assert_eq!(check(long.as_bytes()), Err(Malformed::Target));
    }
}
