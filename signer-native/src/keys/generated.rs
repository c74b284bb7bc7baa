//! A key pair of our own making, and how it is written down.

use crate::signing::{KeyError, SigningKey};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::encoding::Pkcs8V1Der;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_core::key::PublicKey;
use jwt_core::time::Timestamp;
use pkcs1::der::Encode as _;
use pkcs1::{LineEnding, RsaPrivateKey, UintRef};
use pkcs8::PrivateKeyInfo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// An RSA key pair, its name, and when it was published.
///
/// It is kept as a private JWK (RFC 7518 §6.3.2) with one member more: `iat`, the time of its
/// publication in seconds since 1970. RFC 7517 §4 permits additional members.
#[derive(Clone)]
pub(super) struct GeneratedKey {
    jwk: PrivateJwk,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum GeneratedKeyError {
    #[error("the system made no key")]
    Generation,
    #[error("not the JSON of a private RSA key: {0}")]
    Json(String),
    #[error("the numbers make no RSA key")]
    Numbers,
    #[error(transparent)]
    Unusable(#[from] KeyError),
}

#[derive(Clone, Deserialize, Serialize)]
struct PrivateJwk {
    kty: String,
    #[serde(rename = "use")]
    public_key_use: Option<String>,
    alg: Option<String>,
    kid: String,
    n: String,
    e: String,
    d: String,
    p: String,
    q: String,
    dp: String,
    dq: String,
    qi: String,
    iat: Option<f64>,
}

impl GeneratedKey {
    /// Makes one. It takes a while, all of it arithmetic.
    pub(super) fn make() -> Result<Self, GeneratedKeyError> {
        // The contract: RSA-2048.
        let pair =
            KeyPair::generate(KeySize::Rsa2048).map_err(|_| GeneratedKeyError::Generation)?;
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| GeneratedKeyError::Generation)?;
        Self::from_pkcs8(pkcs8.as_ref()).ok_or(GeneratedKeyError::Generation)
    }

    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let info = PrivateKeyInfo::try_from(der).ok()?;
        let key = RsaPrivateKey::try_from(info.private_key).ok()?;
        let number = |number: UintRef<'_>| URL_SAFE_NO_PAD.encode(number.as_bytes());
        let mut jwk = PrivateJwk {
            kty: "RSA".into(),
            public_key_use: Some("sig".into()),
            alg: Some("RS256".into()),
            kid: String::new(),
            n: number(key.modulus),
            e: number(key.public_exponent),
            d: number(key.private_exponent),
            p: number(key.prime1),
            q: number(key.prime2),
            dp: number(key.exponent1),
            dq: number(key.exponent2),
            qi: number(key.coefficient),
            iat: None,
        };
        // The contract: kid = base64url of the RFC 7638 SHA-256 thumbprint.
        let public = jwk.public().to_string();
        jwk.kid = PublicKey::from_jwk(public.as_bytes()).ok()?.thumbprint();
        Some(Self { jwk })
    }

    /// Reads one that [`GeneratedKey::to_json`] wrote, and proves that it can sign.
    pub(super) fn from_json(json: &[u8]) -> Result<Self, GeneratedKeyError> {
        let jwk = serde_json::from_slice(json);
        let this = Self {
            // The parser's own words may quote the file.
            jwk: jwk.map_err(|error| GeneratedKeyError::Json(place_of(&error)))?,
        };
        this.signing_key()?;
        Ok(this)
    }

    /// As it is kept on the disk.
    pub(super) fn to_json(&self) -> Vec<u8> {
        // Strings and integers always serialize.
        serde_json::to_vec_pretty(&self.jwk).unwrap_or_default()
    }

    /// `kid`.
    pub(super) fn id(&self) -> &str {
        &self.jwk.kid
    }

    /// As it is published.
    pub(super) fn public_jwk(&self) -> Value {
        self.jwk.public()
    }

    /// When it was published. A key that does not tell is as old as can be.
    pub(super) fn published_at(&self) -> Timestamp {
        let epoch = Timestamp::from_unix(Duration::ZERO);
        let published = self.jwk.iat.and_then(Timestamp::from_fractional_seconds);
        published.unwrap_or(epoch)
    }

    /// The same key, published now.
    pub(super) fn published(&self, now: Timestamp) -> Self {
        let mut jwk = self.jwk.clone();
        // RFC 7519 §2: a NumericDate may have a fraction.
        let since_epoch = now.since(Timestamp::from_unix(Duration::ZERO));
        jwk.iat = Some(since_epoch.as_secs_f64());
        Self { jwk }
    }

    /// To sign with.
    pub(super) fn signing_key(&self) -> Result<SigningKey, GeneratedKeyError> {
        let pem = self.jwk.to_pem().ok_or(GeneratedKeyError::Numbers)?;
        Ok(SigningKey::from_pem(pem.as_bytes())?)
    }
}

impl PrivateJwk {
    fn public(&self) -> Value {
        serde_json::json!({
            "kty": self.kty, "use": "sig", "alg": "RS256",
            "kid": self.kid, "n": self.n, "e": self.e,
        })
    }

    /// PKCS#1 (RFC 8017 §A.1.2).
    fn to_pem(&self) -> Option<String> {
        let fields = [
            &self.n, &self.e, &self.d, &self.p, &self.q, &self.dp, &self.dq, &self.qi,
        ];
        let numbers: Result<Vec<_>, _> = fields
            .iter()
            .map(|text| URL_SAFE_NO_PAD.decode(text))
            .collect();
        let numbers = numbers.ok()?;
        let uints: Result<Vec<_>, _> = numbers.iter().map(|bytes| UintRef::new(bytes)).collect();
        let [n, e, d, p, q, dp, dq, qi] = uints.ok()?.try_into().ok()?;
        let key = RsaPrivateKey {
            modulus: n,
            public_exponent: e,
            private_exponent: d,
            prime1: p,
            prime2: q,
            exponent1: dp,
            exponent2: dq,
            coefficient: qi,
            other_prime_infos: None,
        };
        let der = key.to_der().ok()?;
        pkcs1::der::pem::encode_string("RSA PRIVATE KEY", LineEnding::LF, &der).ok()
    }
}

impl fmt::Debug for GeneratedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeneratedKey")
            .field("kid", &self.jwk.kid)
            .finish_non_exhaustive()
    }
}

fn place_of(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_way_to_the_disk_and_back() {
        let now = Timestamp::from_fractional_seconds(1_700_000_000.25).unwrap();
        let key = GeneratedKey::make().unwrap().published(now);
        let again = GeneratedKey::from_json(&key.to_json()).unwrap();
        assert_eq!((again.id(), again.published_at()), (key.id(), now));
        let text = b"text";
        let sign = |key: &GeneratedKey| key.signing_key().unwrap().sign(text).unwrap();
        assert_eq!(sign(&again), sign(&key));
        assert!(!format!("{key:?}").contains(&key.jwk.d));
    }

    #[test]
    fn what_is_published_is_public_and_named_by_its_thumbprint() {
        let key = GeneratedKey::make().unwrap();
        let jwk = key.public_jwk();
        let public = PublicKey::from_jwk(jwk.to_string().as_bytes()).unwrap();
        assert_eq!(public.thumbprint(), key.id());
        assert_eq!(public.key_id(), Some(key.id()));
        for private in ["d", "p", "q", "dp", "dq", "qi", "iat"] {
            assert!(jwk.get(private).is_none(), "{private}");
        }
    }

    #[test]
    fn a_damaged_key_is_refused_without_being_quoted() {
        let key = GeneratedKey::make().unwrap();
        let json = String::from_utf8(key.to_json()).unwrap();
        let other = GeneratedKey::make().unwrap();
        let secret = key.jwk.d.as_str();
        for damaged in [
            String::new(),
            "{}".into(),
            json.chars().take(json.len() / 2).collect(),
            json.replace(secret, "*"),
            json.replace(secret, "\", \"d\": 7, \"x\": \""),
            json.replace(secret, &other.jwk.d),
        ] {
            let error = GeneratedKey::from_json(damaged.as_bytes()).unwrap_err();
            assert!(!error.to_string().contains(secret), "{error}");
        }
    }
}
