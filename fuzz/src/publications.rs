//! A key registry over a sequence of calls.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use jwt_core::key::{KeyName, PublicKey};
use jwt_core::registry_token::{self, RegistryCall};
use jwt_core::time::Timestamp;
use keyregistry_mock::publication::{Publication, Rules, approve, publish, revoke};
use keyregistry_mock::{Approval, Bounds, KeyState, Lookup, Registry, Source};
use serde_json::json;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tempfile::TempDir;

const AUDIENCE: &str = "http://registry";
const SERVICES: [&str; 2] = ["a", "b"];
const KEYS: u8 = 4;
const BOUNDS: Bounds = Bounds {
    pending: 3,
    pending_of_service: 2,
    pending_from_source: 2,
    approved: 4,
    approved_of_service: 3,
};

/// The first byte sets the registry up; each four others are a call. A key that was approved is never
/// another one, and one that was revoked or replaced is never served again.
pub fn publications(data: &[u8]) {
    let Some((setup, calls)) = data.split_first() else {
        return;
    };
    let mut world = World::new(*setup);
    for call in calls.chunks_exact(4).take(40) {
        world.call([call[0], call[1], call[2], call[3]]);
        world.check();
    }
}

struct World {
    folder: OnceCell<TempDir>,
    registry: Registry,
    rules: Rules,
    now: Timestamp,
    nonces: u32,
    /// The thumbprint that each name stood for when it was approved first.
    approved: BTreeMap<(String, String), String>,
    /// Thumbprints that were revoked or replaced, with the time from which they are not served.
    ended: BTreeMap<String, Timestamp>,
    names_ended: BTreeSet<(String, String)>,
}

impl World {
    fn new(setup: u8) -> Self {
        let mut rules = Rules::new(AUDIENCE);
        rules.bounds = BOUNDS;
        if setup & 1 > 0 {
            rules.approval = Approval::Automatic;
        }
        if setup & 2 > 0 {
            rules.grace = Duration::from_secs(100);
        }
        let folder = OnceCell::new();
        let registry = match setup & 4 > 0 {
            true => Registry::open(&file(&folder)),
            false => Registry::in_memory(),
        };
        Self {
            folder,
            registry: registry.unwrap(),
            rules,
            now: Timestamp::from_seconds(1_000_000).unwrap(),
            nonces: 0,
            approved: BTreeMap::new(),
            ended: BTreeMap::new(),
            names_ended: BTreeSet::new(),
        }
    }

    /// What to do, with which names and keys, signed by which, and when it expires.
    fn call(&mut self, [what, names, keys, time]: [u8; 4]) {
        let name = name(names % 2, names / 2 % 8);
        let signer_name = self::name(names / 16 % 2, names / 32);
        let (key, signer) = (keys % KEYS, keys / KEYS % KEYS);
        let expires = (time > 0).then(|| self.now + Duration::from_secs(u64::from(time) * 10));
        match what % 8 {
            0 | 1 => self.publish(&name, key, &name, key, expires, what),
            2 | 3 => self.publish(&name, key, &signer_name, signer, expires, what),
            4 => {
                let thumbprint = public(key).thumbprint();
                let _ = approve(&self.registry, &name, &thumbprint, self.now);
            }
            5 => self.revoke(&name, key, &signer_name, signer, time),
            6 => self.now = self.now + Duration::from_secs(u64::from(time) * 60),
            _ => {
                if self.folder.get().is_some() {
                    // The file is one process's at a time.
                    self.registry = Registry::in_memory().unwrap();
                    self.registry = Registry::open(&file(&self.folder)).unwrap();
                }
            }
        }
    }

    fn publish(
        &mut self,
        name: &KeyName,
        key: u8,
        signer_name: &KeyName,
        signer: u8,
        expires: Option<Timestamp>,
        source: u8,
    ) {
        let body = public(key).to_jwk(name.key_id()).to_string();
        let call =
            RegistryCall::publish(name, expires.map(Timestamp::seconds), None, body.as_bytes());
        let publication = Publication::new(name.clone(), body.as_bytes(), expires, None, self.now);
        let source = Source::from(IpAddr::V4(Ipv4Addr::new(192, source / 8 % 4, 2, 1)));
        let publication = publication.unwrap().from_source(source);
        let token = self.token(signer_name, signer, &call);
        let before = self.served(signer_name);
        let done = publish(&self.registry, &self.rules, &publication, &token, self.now);
        if done.is_ok() && signer_name != name {
            let signer = public(signer).thumbprint();
            assert_eq!(
                before.as_ref(),
                Some(&signer),
                "signed by what was not served"
            );
            self.end(signer_name, signer, self.rules.grace);
        }
        if done.is_ok() {
            let again = publish(&self.registry, &self.rules, &publication, &token, self.now);
            assert!(again.is_err(), "a token was used twice");
        }
    }

    fn revoke(&mut self, name: &KeyName, key: u8, signer_name: &KeyName, signer: u8, how: u8) {
        let call = RegistryCall::revoke(name, b"");
        let token = match how % 4 {
            0 => self.token(signer_name, signer, &call),
            _ => self.token(name, key, &call),
        };
        let before = self.registry.get(name.issuer(), name.key_id());
        if revoke(&self.registry, &self.rules, name, b"", &token, self.now).is_ok() {
            let before = before.expect("what is revoked was there");
            if before.state != KeyState::Pending {
                self.end(name, before.jwk.thumbprint(), Duration::ZERO);
            }
            assert!(self.registry.get(name.issuer(), name.key_id()).is_none());
        }
    }

    fn end(&mut self, name: &KeyName, thumbprint: String, grace: Duration) {
        let until = Timestamp::from_seconds((self.now + grace).seconds_rounded_up()).unwrap();
        let known = self.ended.entry(thumbprint).or_insert(until);
        *known = until.min(*known);
        self.names_ended.insert(pair(name));
    }

    fn token(&mut self, name: &KeyName, key: u8, call: &RegistryCall) -> String {
        self.nonces += 1;
        let now = self.now.seconds();
        let mut claims = json!({
            "iss": name.issuer(), "aud": AUDIENCE, "jti": format!("n{}", self.nonces),
            "iat": now, "nbf": now, "exp": now + 60,
        });
        claims.as_object_mut().unwrap().extend(call.claim());
        let header = json!({"alg": "EdDSA", "kid": name.key_id(), "typ": registry_token::TYPE});
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let input = format!("{header}.{claims}");
        let signature = private(key).sign(input.as_bytes()).to_bytes();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn served(&self, name: &KeyName) -> Option<String> {
        match self.registry.find(name.issuer(), name.key_id(), self.now) {
            Lookup::Approved { jwk, .. } => Some(jwk.thumbprint()),
            _ => None,
        }
    }

    fn check(&mut self) {
        let mut counts = [0; 2];
        for number in 0..SERVICES.len() as u8 * 8 {
            let name = name(number % 2, number / 2);
            let Some(thumbprint) = self.served(&name) else {
                continue;
            };
            let first = self
                .approved
                .entry(pair(&name))
                .or_insert_with(|| thumbprint.clone());
            assert_eq!(*first, thumbprint, "another key under an approved id");
            let until = self.ended.get(&thumbprint);
            assert!(
                until.is_none_or(|until| *until > self.now),
                "a revoked key is served"
            );
            counts[usize::from(number % 2)] += 1;
        }
        for (service, count) in SERVICES.iter().zip(counts) {
            assert_eq!(self.registry.keys(service, self.now).len(), count);
        }
        let all = self.registry.all();
        let pending = all
            .iter()
            .filter(|named| named.key.state == KeyState::Pending);
        assert!(pending.count() <= BOUNDS.pending, "too many pending keys");
        if self.rules.approval == Approval::Automatic {
            assert!(
                counts
                    .iter()
                    .all(|count| *count <= BOUNDS.approved_of_service)
            );
            assert!(
                counts.iter().sum::<usize>() <= BOUNDS.approved,
                "too many approved keys"
            );
        }
    }
}

fn file(folder: &OnceCell<TempDir>) -> std::path::PathBuf {
    let folder = folder.get_or_init(|| {
        // In memory where there is such a place: the disk would be most of the time.
        let memory = std::path::Path::new("/dev/shm");
        match memory.is_dir() {
            true => TempDir::new_in(memory),
            false => TempDir::new(),
        }
        .unwrap()
    });
    folder.path().join("registry.db")
}

fn pair(name: &KeyName) -> (String, String) {
    (name.issuer().to_owned(), name.key_id().to_owned())
}

fn name(service: u8, key_id: u8) -> KeyName {
    let service = SERVICES[usize::from(service)].to_owned();
    let key_id = match key_id % 8 {
        own @ 0..KEYS => public(own).thumbprint(),
        other => format!("k{other}"),
    };
    KeyName::new(service, key_id).unwrap()
}

fn private(key: u8) -> SigningKey {
    SigningKey::from_bytes(&[key + 1; 32])
}

fn public(key: u8) -> PublicKey {
    let x = URL_SAFE_NO_PAD.encode(private(key).verifying_key().as_bytes());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x}).to_string();
    PublicKey::from_jwk(jwk.as_bytes()).unwrap()
}
