//! The whole verification of a token.

use crate::{origin, two_parts};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use jwt_core::audience::Audience;
use jwt_core::key::{KeyName, PublicKey};
use jwt_core::machine::{KeyAnswer, KeySource, Machine, Progress};
use jwt_core::nonce::{Nonce, NonceClaim, NonceStore};
use jwt_core::policy::Policy;
use jwt_core::refusal::{KeyProblem, Refusal};
use jwt_core::registry_token::TokenKind;
use jwt_core::signature::PureRust;
use jwt_core::time::Timestamp;
use jwt_core::token::Token;
use jwt_core::token_cache::TokenCache;
use jwt_core::verify::VerifiedToken;
use serde_json::json;
use std::collections::HashSet;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

const AUDIENCE: &str = "https://api.example";
const NOW: i64 = 1_700_000_000;

/// The first byte says who signs; then a token's text, or its header and payload. Accepted is what
/// the service signed, for this audience and time, and once.
pub fn verification(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else {
        return;
    };
    let signed = |secret: u8| {
        let (header, payload) = two_parts(rest);
        let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
        let input = format!("{header}.{payload}");
        let signature = key_of(secret).sign(input.as_bytes()).to_bytes();
        (input, signature)
    };
    let encoded = |(input, signature): (String, [u8; 64])| {
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    match how % 4 {
        0 => accepts_what_the_service_means(&encoded(signed(SERVICE)), true),
        1 => accepts_what_the_service_means(&encoded(signed(STRANGER)), false),
        2 => {
            let (input, mut signature) = signed(SERVICE);
            signature[usize::from(how / 4)] ^= 1;
            accepts_what_the_service_means(&encoded((input, signature)), false);
        }
        _ => {
            if let Ok(text) = str::from_utf8(rest) {
                accepts_what_the_service_means(text, is_signed_by_service(text));
            }
        }
    }
}

const SERVICE: u8 = 1;
const STRANGER: u8 = 2;

fn key_of(secret: u8) -> SigningKey {
    SigningKey::from_bytes(&[secret; 32])
}

/// With the library itself.
fn is_signed_by_service(text: &str) -> bool {
    let Some((input, signature)) = text.rsplit_once('.') else {
        return false;
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    let signature = Signature::from_slice(&signature);
    let key = key_of(SERVICE).verifying_key();
    signature.is_ok_and(|own| key.verify_strict(input.as_bytes(), &own).is_ok())
}

fn accepts_what_the_service_means(text: &str, is_signed: bool) {
    let expected = is_signed && is_good(text);
    let mut world = World::default();
    let first = world.verify(text);
    assert_eq!(first.is_ok(), expected, "{:?}", first.err());
    assert_eq!(world.claimed.len(), usize::from(expected), "claimed last");
    if let Ok(token) = first {
        assert_eq!(token.key_name(), &name());
        assert_eq!(world.verify(text).unwrap_err(), Refusal::Replayed);
        // Known or not, its key may change.
        world.claimed.clear();
        world.secret = STRANGER;
        assert_eq!(world.verify(text).unwrap_err(), Refusal::Signature);
    }
}

/// What the contract says, once more.
fn is_good(text: &str) -> bool {
    let Ok(token) = Token::parse(text) else {
        return false;
    };
    let (claims, now) = (token.claims(), now());
    let is_audience = |audience: &String| {
        let is_url = audience
            .parse::<http::Uri>()
            .is_ok_and(|uri| uri.scheme().is_some());
        is_url && Audience::new(AUDIENCE).matches(audience) && origin(audience) == origin(AUDIENCE)
    };
    token.kind() != TokenKind::Registry
        && token.algorithm().name() == "EdDSA"
        && token.key_name() == &name()
        && claims.audiences.iter().any(is_audience)
        && claims.expires > now
        && claims.not_before <= now
        && claims.issued <= now + Duration::from_secs(60)
        && claims.expires <= claims.issued + Duration::from_secs(300)
}

fn now() -> Timestamp {
    Timestamp::from_seconds(NOW).unwrap()
}

fn name() -> KeyName {
    KeyName::new("svc".into(), "k1".into()).unwrap()
}

struct World {
    secret: u8,
    claimed: HashSet<(String, String)>,
    token_cache: TokenCache,
}

impl Default for World {
    fn default() -> Self {
        Self {
            secret: SERVICE,
            claimed: HashSet::new(),
            token_cache: TokenCache::default(),
        }
    }
}

impl World {
    fn verify(&mut self, text: &str) -> Result<VerifiedToken, Refusal> {
        let mut machine = Machine {
            policy: &Policy::new(Audience::new(AUDIENCE)),
            keys: &mut Key(self.secret),
            signatures: &PureRust,
            nonces: &mut Claims(&mut self.claimed),
            token_cache: Some(&mut self.token_cache),
        };
        match machine.start(text, now()) {
            Progress::Done(end) => end,
            Progress::AwaitsKey(_) => panic!("the key is there"),
        }
    }
}

struct Key(u8);

impl KeySource for Key {
    fn key(&mut self, wanted: &KeyName, _: Timestamp) -> Poll<KeyAnswer> {
        let public = key_of(self.0).verifying_key();
        let x = URL_SAFE_NO_PAD.encode(public.as_bytes());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x}).to_string();
        let key = PublicKey::from_jwk(jwk.as_bytes()).unwrap();
        Poll::Ready(match *wanted == name() {
            true => Ok(Rc::new(key)),
            false => Err(KeyProblem::Unknown),
        })
    }
}

struct Claims<'a>(&'a mut HashSet<(String, String)>);

impl NonceStore for Claims<'_> {
    fn claim(&mut self, nonce: &Nonce<'_>, _: Timestamp) -> NonceClaim {
        let nonce = (nonce.issuer.to_owned(), nonce.token_id.to_owned());
        match self.0.insert(nonce) {
            true => NonceClaim::Fresh,
            false => NonceClaim::Replayed,
        }
    }
}
