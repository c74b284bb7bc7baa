//! Tokens for tests, signed with fixed keys.

use crate::key::{KeyName, PublicKey};
use crate::registry_token::{self, RegistryCall};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::PrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::EncodePublicKey as _;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// The moment at which [`TestSigner::claims`] were issued.
pub const NOW: i64 = 1_700_000_000;

/// A service with a key.
pub struct TestSigner {
    key: PrivateKey,
}

impl TestSigner {
    /// The service `svc`, whose key is `k1`.
    #[allow(clippy::expect_used, reason = "a fixed key")]
    pub fn service() -> Self {
        let key = PrivateKey::from_pkcs1_pem(Self::SERVICE_PRIVATE_PEM);
        Self {
            key: key.expect("the key in testdata"),
        }
    }

    /// Somebody else, who says to be `svc`.
    #[allow(clippy::expect_used, reason = "a fixed key")]
    pub fn stranger() -> Self {
        let key = PrivateKey::from_pkcs1_pem(include_str!("../testdata/stranger.key"));
        Self {
            key: key.expect("the key in testdata"),
        }
    }

    /// The name under which both keys sign.
    #[allow(clippy::expect_used, reason = "a fixed name")]
    pub fn key_name() -> KeyName {
        KeyName::new("svc".into(), "k1".into()).expect("a short name")
    }

    /// The private key of [`TestSigner::service`] as PEM, PKCS#1.
    pub const SERVICE_PRIVATE_PEM: &str = include_str!("../testdata/service.key");

    /// The public half as PEM.
    #[allow(clippy::expect_used, reason = "a fixed key")]
    pub fn public_pem(&self) -> String {
        let public = self.key.to_public_key();
        public
            .to_public_key_pem(rsa::pkcs8::LineEnding::LF)
            .expect("a valid key")
    }

    /// The public half.
    #[allow(clippy::expect_used, reason = "a fixed key")]
    pub fn public_key(&self) -> PublicKey {
        PublicKey::from_pem(self.public_pem()).expect("a valid key")
    }

    /// Good claims for the audience `https://api`, issued [`NOW`] and valid for five minutes.
    pub fn claims(token_id: &str) -> Value {
        json!({
            "iss": "svc",
            "aud": "https://api",
            "iat": NOW,
            "nbf": NOW - 60,
            "exp": NOW + 300,
            "jti": token_id,
        })
    }

    /// A good token.
    pub fn token(&self, token_id: &str) -> String {
        self.sign(&Self::claims(token_id))
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({"alg": "RS256", "kid": "k1", "typ": "JWT"}), claims)
    }

    /// A token for the registry with these claims, which authorizes this call in the name of the
    /// key `kid`.
    pub fn sign_call(&self, kid: &str, claims: &Value, call: &RegistryCall) -> String {
        let mut claims = claims.clone();
        if let Value::Object(claims) = &mut claims {
            claims.extend(call.claim());
        }
        let header = json!({"alg": "RS256", "kid": kid, "typ": registry_token::TYPE});
        self.sign_with(&header, &claims)
    }

    /// A token with this header and these claims; the signature is always RS256.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        self.sign_bytes(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// The same, whatever the two are.
    pub fn sign_bytes(&self, header: &[u8], claims: &[u8]) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let input = format!("{header}.{claims}");
        let signature = SigningKey::<Sha256>::new(self.key.clone()).sign(input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}
