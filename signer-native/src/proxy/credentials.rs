//! `proxy_authentication`: who may use the proxy (RFC 7617).

use super::error::Error;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::PROXY_AUTHORIZATION;
use std::fmt;

/// The one user of the proxy. Of the password only a hash is kept.
pub struct Credentials {
    user_and_password: [u8; 32],
}

impl Credentials {
    /// RFC 7617 §2: "a user-id containing a colon character is invalid", so `None` for one.
    pub fn new(user: &str, password: &str) -> Option<Self> {
        if user.contains(':') {
            return None;
        }
        let plain = format!("{user}:{password}");
        Some(Self {
            user_and_password: hash(plain.as_bytes()),
        })
    }

    /// Lets a request through that carries them.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Error> {
        let mut fields = headers.get_all(PROXY_AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return Err(Error::ProxyAuthentication);
        };
        let given = field.to_str().ok().and_then(decoded);
        let given = hash(&given.ok_or(Error::ProxyAuthentication)?);
        // Hashes have one length and tell nothing of how far a guess was right; compared in
        // constant time all the same.
        verify_slices_are_equal(&given, &self.user_and_password)
            .map_err(|_| Error::ProxyAuthentication)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(..)")
    }
}

fn decoded(field: &str) -> Option<Vec<u8>> {
    let (scheme, token) = field.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    STANDARD.decode(token.trim()).ok()
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn allowed(fields: &[&'static str]) -> bool {
        let credentials = Credentials::new("Aladdin", "open sesame").unwrap();
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(PROXY_AUTHORIZATION, HeaderValue::from_static(field));
        }
        credentials.check(&headers).is_ok()
    }

    #[test]
    fn only_the_right_password_opens() {
        // The example of RFC 7617 §2.
        assert!(allowed(&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]));
        assert!(allowed(&["basic  QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]));
        for wrong in [
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZR==",
            "Basic QWxhZGRpbjo=",
            "Basic",
            "Basic !",
            "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "",
        ] {
            assert!(!allowed(&[wrong]), "{wrong}");
        }
        assert!(!allowed(&[]));
        assert!(!allowed(&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Basic x"]));
    }

    #[test]
    fn debug_shows_nothing() {
        let credentials = Credentials::new("user", "secret").unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials(..)");
        assert!(Credentials::new("us:er", "x").is_none());
    }
}
