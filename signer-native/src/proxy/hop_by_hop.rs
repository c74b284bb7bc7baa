//! Fields for one connection only, which a proxy takes off each message (RFC 9110 §7.6.1).
//!
//! | field | why it stays here |
//! |---|---|
//! | `Connection` and every field it nominates | §7.6.1: remove them, "and then remove the Connection header field itself" |
//! | `Keep-Alive`, `Proxy-Connection`, `Upgrade` | §7.6.1: removed whether nominated or not; each side manages its own connections, and what may be upgraded is put back, see [`super::upgrade`] |
//! | `TE` | §10.1.4: only the part that is true of the whole chain is sent on, see [`from_request`] |
//! | `Transfer-Encoding` | RFC 9112 §6.1: a property of the message on one connection, not of the representation; hyper decodes it and frames the message anew |
//! | `Proxy-Authorization` | §11.7.2: "consumed by the first inbound proxy that was expecting to receive credentials"; an origin server never is one |
//! | `Proxy-Authenticate`, `Proxy-Authentication-Info` | §11.7.1, §11.7.3: "applies only to the next outbound client", which we are |
//!
//! `Trailer` (§6.6.2) is not among them: it announces the trailer section, which passes too, less
//! what [`super::request_body`] keeps out of a request's. `Expect` (§10.1.1) passes as well: hyper
//! answers 100 to the client as soon as the upstream connection takes the body.

use http::Version;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Takes them off a request.
///
/// A client that takes trailers is still announced: we pass them, and RFC 9110 §6.5.1 has
/// `TE: trailers` speak for us "on behalf of itself and any downstream clients". Of the transfer
/// codings in TE none is sent on: they would be for us to decode.
pub(super) fn from_request(headers: &mut HeaderMap, version: Version) {
    let takes_trailers = list(headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    remove(headers);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        // RFC 9110 §10.1.4: "A sender of TE MUST also send a "TE" connection option". Whoever speaks
        // HTTP/2 has none, and hyper would take TE off an HTTP/2 request together with the option,
        // which gRPC servers miss (RFC 9113 §8.2.2 permits it there with this one value).
        if version < Version::HTTP_2 {
            headers.insert(CONNECTION, HeaderValue::from_static("TE"));
        }
    }
}

/// Takes them off a response.
pub(super) fn from_response(headers: &mut HeaderMap) {
    remove(headers);
}

/// The transfer coding of a message that would still be in its content once `chunked` is decoded.
/// Without its Transfer-Encoding such a message would change its meaning, so it cannot be passed.
///
/// `identity` is no coding at all; RFC 2616 §3.6 knew it, and old servers send it.
pub(super) fn unknown_transfer_coding(headers: &HeaderMap) -> Option<String> {
    list(headers, &TRANSFER_ENCODING)
        .find(|coding| {
            ![&b"chunked"[..], b"identity"]
                .iter()
                .any(|known| coding.eq_ignore_ascii_case(known))
        })
        .map(|coding| String::from_utf8_lossy(coding).into_owned())
}

fn remove(headers: &mut HeaderMap) {
    // RFC 9112 §6.3: "If a message is received with both a Transfer-Encoding and a Content-Length
    // header field, the Transfer-Encoding overrides the Content-Length. […] An intermediary that
    // chooses to forward the message MUST first remove the received Content-Length field". hyper
    // leaves it in a response, and would then believe it when it frames that anew.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    for name in nominated(headers) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// RFC 9110 §7.6.1: "Intermediaries MUST parse a received Connection header field before a
/// message is forwarded and, for each connection-option in this field, remove any header […]
/// field(s) from the message with the same name as the connection-option".
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    list(headers, &CONNECTION)
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .collect()
}

/// The members of a list-based field (RFC 9110 §5.6.1), over all its lines.
///
/// As bytes: a member that is no text must not hide those beside it.
pub(super) fn list<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    fn from_http1(headers: &mut HeaderMap) {
        from_request(headers, Version::HTTP_11);
    }

    fn names_left(mut headers: HeaderMap, take_off: fn(&mut HeaderMap)) -> Vec<String> {
        take_off(&mut headers);
        let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn the_connection_and_what_it_nominates_are_removed() {
        let message = [
            ("Connection", "close, X-One ,, x-TWO"),
            ("connection", "not a name, X-Three"),
            ("X-One", "1"),
            ("X-Two", "2"),
            ("X-Two", "2 again"),
            ("X-Three", "3"),
            ("X-Four", "4"),
        ];
        assert_eq!(names_left(headers(&message), from_http1), ["x-four"]);
        assert_eq!(names_left(headers(&message), from_response), ["x-four"]);
    }

    #[test]
    fn an_odd_member_of_a_list_does_not_hide_the_others() {
        for connection in [&b"X\xff, X-A"[..], b"X-A,\xff", b"\x80,,X-A , \xc3"] {
            let mut message = headers(&[("X-A", "1"), ("X-B", "2")]);
            message.insert(CONNECTION, HeaderValue::from_bytes(connection).unwrap());
            assert_eq!(names_left(message, from_http1), ["x-b"], "{connection:?}");
        }
        let te = HeaderValue::from_bytes(b"\xff, trailers").unwrap();
        let mut request = HeaderMap::from_iter([(TE, te)]);
        from_http1(&mut request);
        assert_eq!(request[&TE], "trailers");
        for coding in [&b"gzip\xff, chunked"[..], b"chunked, \xff"] {
            let coding = HeaderValue::from_bytes(coding).unwrap();
            let response = HeaderMap::from_iter([(TRANSFER_ENCODING, coding)]);
            assert!(unknown_transfer_coding(&response).is_some());
        }
    }

    #[test]
    fn the_known_fields_are_removed_without_being_nominated() {
        let message = [
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authenticate", "Basic"),
            ("Proxy-Authentication-Info", "a=b"),
            ("Proxy-Authorization", "Basic eDp5"),
            ("Proxy-Connection", "keep-alive"),
            ("TE", "gzip"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("Trailer", "X-Sum"),
            ("Via", "1.1 other"),
        ];
        assert_eq!(
            names_left(headers(&message), from_http1),
            ["trailer", "via"]
        );
        assert_eq!(
            names_left(headers(&message), from_response),
            ["trailer", "via"]
        );
    }

    #[test]
    fn a_client_that_takes_trailers_is_announced() {
        let mut request = headers(&[("TE", "gzip;q=0.5, Trailers"), ("Connection", "TE, close")]);
        from_http1(&mut request);
        assert_eq!(
            request,
            headers(&[("TE", "trailers"), ("Connection", "TE")])
        );
    }

    #[test]
    fn an_http_2_client_that_takes_trailers_is_announced_without_a_connection_option() {
        let mut request = headers(&[("TE", "trailers")]);
        from_request(&mut request, Version::HTTP_2);
        assert_eq!(request, headers(&[("TE", "trailers")]));
    }

    #[test]
    fn a_length_that_the_transfer_coding_overrides_is_removed() {
        let both = [("Transfer-Encoding", "chunked"), ("Content-Length", "3")];
        assert!(names_left(headers(&both), from_response).is_empty());
        let length = [("Content-Length", "3")];
        assert_eq!(
            names_left(headers(&length), from_response),
            ["content-length"]
        );
    }

    #[test]
    fn codings_inside_the_chunks_are_found() {
        let of = |value| unknown_transfer_coding(&headers(&[("Transfer-Encoding", value)]));
        assert_eq!(of("Chunked"), None);
        assert_eq!(of("identity, chunked"), None);
        assert_eq!(of("gzip, chunked").as_deref(), Some("gzip"));
    }
}
