//! A refusal on the wire.

use crate::gate::Refused;
use jwt_core::refusal::Refusal;
use jwt_core::registry::RESERVED;
use percent_encoding::utf8_percent_encode;

/// How soon a client may try again after a fault of ours, in seconds: a key server that failed
/// is left alone for as long.
const RETRY_AFTER: &str = "1";

/// What a refused client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u32,
    /// Header fields.
    pub headers: Vec<(&'static str, String)>,
    /// Plain text.
    pub body: String,
}

/// The answer to a refused request; `auth_redirect_url` is where to send those that can be sent.
pub fn reply(refused: &Refused, auth_redirect_url: Option<&str>) -> Reply {
    match (auth_redirect_url, &refused.redirect_from) {
        (Some(target), Some(from)) => redirect(target, from),
        _ => refusal(&refused.refusal),
    }
}

fn refusal(refusal: &Refusal) -> Reply {
    let reason = refusal.to_string();
    let mut headers = vec![("content-type", "text/plain".to_owned())];
    let status = if refusal.is_temporary() {
        headers.push(("retry-after", RETRY_AFTER.to_owned()));
        503
    } else {
        headers.push(("www-authenticate", challenge(refusal, &reason)));
        403
    };
    let body = format!("jwtproxy: unable to verify request: {reason}\n");
    Reply {
        status,
        headers,
        body,
    }
}

/// RFC 6750 §3: without credentials no error code, "if the request lacks any authentication
/// information"; §3.1 for the others.
fn challenge(refusal: &Refusal, reason: &str) -> String {
    match refusal {
        Refusal::MissingToken => "Bearer".to_owned(),
        Refusal::SeveralTokens => "Bearer error=\"invalid_request\"".to_owned(),
        _ => {
            // A quoted string may not have quotes in it (RFC 6750 §3, error_description).
            let description = reason.replace('"', "'");
            format!("Bearer error=\"invalid_token\", error_description=\"{description}\"")
        }
    }
}

fn redirect(target: &str, from: &str) -> Reply {
    let (target, fragment) = match target.split_once('#') {
        Some((target, fragment)) => (target, format!("#{fragment}")),
        None => (target, String::new()),
    };
    let separator = if target.contains('?') { '&' } else { '?' };
    let location = format!(
        "{target}{separator}redirectUrl={}{fragment}",
        utf8_percent_encode(from, RESERVED)
    );
    // The answer is for this request at this moment.
    let headers = vec![
        ("location", location),
        ("cache-control", "no-store".to_owned()),
    ];
    Reply {
        status: 302,
        headers,
        body: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jwt_core::refusal::KeyProblem;

    fn refused(refusal: Refusal) -> Refused {
        Refused {
            refusal,
            redirect_from: None,
        }
    }

    fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
        reply
            .headers
            .iter()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value.as_str())
    }

    #[test]
    fn the_clients_fault_is_403_with_a_challenge() {
        let reply = reply(&refused(Refusal::Expired), None);
        assert_eq!(reply.status, 403);
        assert_eq!(
            reply.body,
            "jwtproxy: unable to verify request: the token has expired\n"
        );
        assert_eq!(
            header(&reply, "www-authenticate"),
            Some("Bearer error=\"invalid_token\", error_description=\"the token has expired\"")
        );
    }

    #[test]
    fn without_a_token_the_challenge_names_no_error() {
        let without = reply(&refused(Refusal::MissingToken), None);
        assert_eq!(header(&without, "www-authenticate"), Some("Bearer"));
        let quoted = reply(&refused(Refusal::Missing("kid")), None);
        let challenge = header(&quoted, "www-authenticate").unwrap();
        assert!(
            challenge.ends_with("error_description=\"the token has no 'kid'\""),
            "{challenge}"
        );
    }

    #[test]
    fn our_fault_is_503_and_may_be_tried_again() {
        let reply = reply(&refused(Refusal::Key(KeyProblem::Unavailable)), None);
        assert_eq!(
            (reply.status, header(&reply, "retry-after")),
            (503, Some("1"))
        );
    }

    #[test]
    fn a_redirect_carries_the_url_asked_for() {
        let from = Some("https://api/a b?c=d&e#f\u{e9}".to_owned());
        let refused = Refused {
            refusal: Refusal::MissingToken,
            redirect_from: from,
        };
        let encoded = "redirectUrl=https%3A%2F%2Fapi%2Fa%20b%3Fc%3Dd%26e%23f%C3%A9";
        for (target, location) in [
            ("https://login/", format!("https://login/?{encoded}")),
            (
                "https://login/?a=b",
                format!("https://login/?a=b&{encoded}"),
            ),
            (
                "https://login/#top",
                format!("https://login/?{encoded}#top"),
            ),
        ] {
            let reply = reply(&refused, Some(target));
            assert_eq!(
                (reply.status, header(&reply, "location")),
                (302, Some(&*location))
            );
        }
    }
}
