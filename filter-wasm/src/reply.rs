//! A refusal on the wire.

use jwt_core::refusal::Refusal;

/// How soon a client may try again after a fault of ours, in seconds: a key server that failed
/// is left alone for as long.
const RETRY_AFTER: &str = "1";

/// What a refused client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u32,
    /// Header fields.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Plain text.
    pub body: String,
}

impl From<&Refusal> for Reply {
    fn from(refusal: &Refusal) -> Self {
        let mut headers = vec![("content-type", "text/plain")];
        let status = if refusal.is_temporary() {
            headers.push(("retry-after", RETRY_AFTER));
            503
        } else {
            403
        };
        let body = format!("jwtproxy: unable to verify request: {refusal}\n");
        Self {
            status,
            headers,
            body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jwt_core::refusal::KeyProblem;

    #[test]
    fn the_clients_fault_is_403_and_ours_503() {
        let reply = Reply::from(&Refusal::Expired);
        assert_eq!((reply.status, reply.headers.len()), (403, 1));
        assert_eq!(
            reply.body,
            "jwtproxy: unable to verify request: the token has expired\n"
        );
        let reply = Reply::from(&Refusal::Key(KeyProblem::Unavailable));
        assert_eq!(reply.status, 503);
        assert!(reply.headers.contains(&("retry-after", "1")));
    }
}
