//! The token on a request.

use super::SigningKey;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use http::HeaderValue;
use jwt_core::issue::{self, Issuer};
use jwt_core::time::Timestamp;
use serde_json::{Map, Value};

/// Makes the `Authorization` of requests: a fresh token for each.
#[derive(Debug)]
pub struct RequestSigner {
    key: SigningKey,
    issuer: Issuer,
    nonce_length: usize,
}

impl RequestSigner {
    /// A signer whose tokens carry a `jti` of `nonce_length` characters.
    ///
    /// `issuer.algorithm` becomes that of the key: a token cannot name another.
    pub fn new(key: SigningKey, issuer: Issuer, nonce_length: usize) -> Self {
        let algorithm = key.algorithm();
        Self {
            key,
            issuer: Issuer {
                algorithm,
                ..issuer
            },
            nonce_length,
        }
    }

    /// `Bearer <token>` (RFC 6750 §2.1) for one request to `audience`, with claims beyond the usual
    /// ones.
    pub fn authorization(
        &self,
        audience: &str,
        extra: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<HeaderValue, SigningError> {
        let token = self.token(audience, extra, now)?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| SigningError::HeaderValue)?;
        // Keeps it out of Debug output.
        value.set_sensitive(true);
        Ok(value)
    }

    fn token(
        &self,
        audience: &str,
        extra: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<String, SigningError> {
        let nonce = random_nonce(self.nonce_length).map_err(|_| SigningError::Random)?;
        let signing_input = self.issuer.signing_input(audience, extra, &nonce, now);
        let signature = self
            .key
            .sign(signing_input.as_bytes())
            .map_err(|_| SigningError::Signature)?;
        Ok(issue::compact(signing_input, &signature))
    }
}

/// Why a request got no token. None of this is expected to happen with a key that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The system's generator failed.
    #[error("the system gave no random numbers for the nonce")]
    Random,
    /// The key failed.
    #[error("the private key made no signature")]
    Signature,
    /// The token holds a character that no header may.
    #[error("the token does not fit into a header")]
    HeaderValue,
}

fn random_nonce(length: usize) -> Result<String, Unspecified> {
    let mut random = vec![0; length.saturating_mul(6).div_ceil(8)];
    SystemRandom::new().fill(&mut random)?;
    Ok(issue::nonce(&random, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn signer(nonce_length: usize) -> RequestSigner {
        let key = include_bytes!("../../tests/keys/pkcs8.pem");
        let issuer = Issuer {
            algorithm: "none",
            key_id: "my-key".into(),
            issuer: "my-service".into(),
            expiration_time: Duration::from_secs(300),
            max_skew: Duration::from_secs(60),
        };
        RequestSigner::new(SigningKey::from_pem(key).unwrap(), issuer, nonce_length)
    }

    #[test]
    fn the_algorithm_is_the_one_of_the_key() {
        assert_eq!(signer(32).issuer.algorithm, "RS256");
    }

    #[test]
    fn a_nonce_has_the_configured_length_and_comes_once() {
        for length in [1, 31, 32, 33] {
            assert_eq!(random_nonce(length).unwrap().len(), length);
        }
        assert_ne!(random_nonce(32), random_nonce(32));
    }

    #[test]
    fn debug_shows_neither_key_nor_token() {
        let now = Timestamp::from_seconds(1_700_000_000).unwrap();
        let value = signer(32)
            .authorization("http://a.test", &Map::new(), now)
            .unwrap();
        assert!(value.as_bytes().starts_with(b"Bearer ey"));
        assert_eq!(format!("{value:?}"), "Sensitive");
        let shown = format!("{:?}", signer(32));
        assert!(
            shown.contains("SigningKey { algorithm: \"RS256\", .. }"),
            "{shown}"
        );
    }
}
