//! Tokens signed beforehand, in files that wrk reads.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jwt_core::issue::{self, Issuer};
use jwt_core::key::PublicKey;
use jwt_core::time::Timestamp;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The audience of the verifiers.
pub const AUDIENCE: &str = "https://api.example";

/// The service that calls.
pub const ISSUER: &str = "svc";

/// Longer than any run takes: whatever is remembered of a token stays remembered.
pub const LIFETIME: Duration = Duration::from_secs(4 * 3600);

/// A signing key.
pub struct Key(Pair);

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    /// RSA of 2048 bits, for RS256.
    pub fn rsa() -> Self {
        Self(Pair::Rsa(
            RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
        ))
    }

    /// P-256, for ES256.
    pub fn p256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self(Pair::P256(pair.expect("a key")))
    }

    /// Ed25519, for EdDSA.
    pub fn ed25519() -> Self {
        Self(Pair::Ed25519(Ed25519KeyPair::generate().expect("a key")))
    }

    /// `alg`.
    pub fn algorithm(&self) -> &'static str {
        match self.0 {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// `kid`.
    pub fn key_id(&self) -> String {
        self.algorithm().to_ascii_lowercase()
    }

    /// The public half as SubjectPublicKeyInfo, DER.
    pub fn public_der(&self) -> Vec<u8> {
        let der: Result<PublicKeyX509Der<'_>, _> = match &self.0 {
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::P256(pair) => pair.public_key().as_der(),
            Pair::Ed25519(pair) => pair.public_key().as_der(),
        };
        der.expect("a public key").as_ref().to_vec()
    }

    /// The same as PEM.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.public_der())
    }

    /// The private key as PEM, PKCS#8.
    pub fn private_pem(&self) -> String {
        let document = match &self.0 {
            Pair::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().expect("a private key");
                return pem("PRIVATE KEY", der.as_ref());
            }
            Pair::P256(pair) => pair.to_pkcs8v1(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1(),
        };
        pem("PRIVATE KEY", document.expect("a private key").as_ref())
    }

    /// The public half as JWK (RFC 7517).
    pub fn jwk(&self) -> Value {
        let key = PublicKey::from_pem(self.public_pem()).expect("a public key");
        key.to_jwk(&self.key_id())
    }

    /// Signs.
    pub fn sign(&self, message: &[u8], random: &SystemRandom) -> Vec<u8> {
        match &self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, random, message, &mut signature)
                    .expect("a signature");
                signature
            }
            Pair::P256(pair) => {
                let signature = pair.sign(random, message).expect("a signature");
                signature.as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this `jti`.
    pub fn token(&self, token_id: &str) -> String {
        let issuer = Issuer {
            algorithm: self.algorithm(),
            key_id: self.key_id(),
            issuer: ISSUER.into(),
            expiration_time: LIFETIME,
            max_skew: Duration::from_secs(60),
        };
        let input = issuer.signing_input(AUDIENCE, &Map::new(), token_id, now());
        let signature = self.sign(input.as_bytes(), &SystemRandom::new());
        issue::compact(input, &signature)
    }

    /// One with the signature of another: a number in the key's range, so that checking it takes
    /// as long as a good one.
    pub fn forged(&self, token_id: &str) -> String {
        let (token, other) = (self.token(token_id), self.token("another"));
        let (claims, _) = token.rsplit_once('.').expect("three parts");
        let (_, signature) = other.rsplit_once('.').expect("three parts");
        format!("{claims}.{signature}")
    }
}

/// Writes that many tokens, each with a `jti` of its own.
pub fn write(key: &Key, count: usize, path: &Path) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    let share = count.div_ceil(cores);
    thread::scope(|scope| {
        let parts: Vec<_> = (0..cores)
            .map(|part| scope.spawn(move || lines(key, part * share, share)))
            .collect();
        for part in parts {
            let lines = part.join().expect("a thread");
            file.write_all(lines.as_bytes()).expect("disk space");
        }
    });
}

fn lines(key: &Key, first: usize, count: usize) -> String {
    let mut lines = String::new();
    for number in first..first + count {
        // As long as a signer's nonce, and another one for each key.
        let token = key.token(&format!("{}{number:027}", key.algorithm()));
        writeln!(lines, "{token}").expect("memory");
    }
    lines
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_unix(since_epoch.expect("a clock after 1970"))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}
