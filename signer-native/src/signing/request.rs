//! The token on a request.

use super::SigningKey;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use http::HeaderValue;
use jwt_core::issue::{self, Issuer};
use jwt_core::registry_token::RegistryCall;
use jwt_core::time::Timestamp;
use serde_json::{Map, Value};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Makes the `Authorization` of requests: a fresh token for each.
///
/// Its key can be replaced while it works: a request is signed with the key that is current when
/// it comes.
#[derive(Debug)]
pub struct RequestSigner {
    claims: TokenClaims,
    current: RwLock<Result<Arc<CurrentKey>, String>>,
}

/// What the tokens of a signer say, whatever key signs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenClaims {
    /// `iss`.
    pub issuer: String,
    /// How long after now a token expires.
    pub expiration_time: Duration,
    /// How far before now a token becomes valid.
    pub max_skew: Duration,
    /// The length of the `jti`.
    pub nonce_length: usize,
}

#[derive(Debug)]
struct CurrentKey {
    key: SigningKey,
    issuer: Issuer,
}

impl RequestSigner {
    /// A signer whose tokens carry a `jti` of `nonce_length` characters.
    ///
    /// `issuer.algorithm` becomes that of the key: a token cannot name another.
    pub fn new(key: SigningKey, issuer: Issuer, nonce_length: usize) -> Self {
        let this = Self::without_key(TokenClaims {
            issuer: issuer.issuer,
            expiration_time: issuer.expiration_time,
            max_skew: issuer.max_skew,
            nonce_length,
        });
        this.use_key(key, &issuer.key_id);
        this
    }

    /// A signer that gets its key later.
    pub fn without_key(claims: TokenClaims) -> Self {
        Self {
            claims,
            current: RwLock::new(Err("no signing key is active yet".into())),
        }
    }

    /// Signs with this key from now on.
    pub fn use_key(&self, key: SigningKey, key_id: &str) {
        let issuer = Issuer {
            algorithm: key.algorithm(),
            key_id: key_id.to_owned(),
            issuer: self.claims.issuer.clone(),
            expiration_time: self.claims.expiration_time,
            max_skew: self.claims.max_skew,
        };
        self.replace(Ok(Arc::new(CurrentKey { key, issuer })));
    }

    /// Signs nothing from now on, for this reason.
    pub fn use_no_key(&self, reason: impl Into<String>) {
        self.replace(Err(reason.into()));
    }

    /// Whether requests can be signed now.
    pub fn has_key(&self) -> bool {
        self.current().is_ok()
    }

    fn replace(&self, current: Result<Arc<CurrentKey>, String>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }

    fn current(&self) -> Result<Arc<CurrentKey>, SigningError> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().map_err(SigningError::NoKey)
    }

    /// `Bearer <token>` (RFC 6750 §2.1) for one request to `audience`, with claims beyond the usual
    /// ones.
    pub fn authorization(
        &self,
        audience: &str,
        extra: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<HeaderValue, SigningError> {
        self.bearer(|issuer, nonce| issuer.signing_input(audience, extra, nonce, now))
    }

    /// The same for one call to the key registry. The token is good for nothing else.
    pub fn registry_authorization(
        &self,
        audience: &str,
        call: &RegistryCall,
        now: Timestamp,
    ) -> Result<HeaderValue, SigningError> {
        self.bearer(|issuer, nonce| issuer.registry_signing_input(audience, call, nonce, now))
    }

    fn bearer(
        &self,
        signing_input: impl FnOnce(&Issuer, &str) -> String,
    ) -> Result<HeaderValue, SigningError> {
        let current = self.current()?;
        let nonce = random_nonce(self.claims.nonce_length).map_err(|_| SigningError::Random)?;
        let signing_input = signing_input(&current.issuer, &nonce);
        let signature = current
            .key
            .sign(signing_input.as_bytes())
            .map_err(|_| SigningError::Signature)?;
        let token = issue::compact(signing_input, &signature);
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| SigningError::HeaderValue)?;
        // Keeps it out of Debug output.
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Why a request got no token. With a key none of this is expected to happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// There is no key to sign with at the moment.
    #[error("{0}")]
    NoKey(String),
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
        let current = signer(32).current().unwrap();
        assert_eq!(current.issuer.algorithm, "RS256");
    }

    #[test]
    fn a_signer_without_key_says_why_and_signs_once_it_has_one() {
        let signer = signer(32);
        let now = Timestamp::from_seconds(1_700_000_000).unwrap();
        signer.use_no_key("it awaits approval");
        let error = signer
            .authorization("http://a.test", &Map::new(), now)
            .unwrap_err();
        assert_eq!(error.to_string(), "it awaits approval");
        let key = include_bytes!("../../tests/keys/pkcs1.pem");
        signer.use_key(SigningKey::from_pem(key).unwrap(), "next");
        assert_eq!(signer.current().unwrap().issuer.key_id, "next");
        assert!(
            signer
                .authorization("http://a.test", &Map::new(), now)
                .is_ok()
        );
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
