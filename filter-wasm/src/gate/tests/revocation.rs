//! A key that was refused stays refused, whatever strangers and other plugins write.

use super::*;
use crate::shared_data::{Conflict, SharedData, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_core::config::filter::Jwks;
use jwt_core::seal::Secret;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Shared data that remembers its keys, as another plugin of the process can guess them.
#[derive(Default)]
struct Watched {
    inner: Rc<InMemory>,
    keys: RefCell<BTreeSet<String>>,
}

impl SharedData for Watched {
    fn get(&self, key: &str) -> (Vec<u8>, Version) {
        self.inner.get(key)
    }

    fn set(&self, key: &str, value: &[u8], version: Version) -> Result<(), Conflict> {
        self.keys.borrow_mut().insert(key.to_owned());
        self.inner.set(key, value, version)
    }
}

impl Watched {
    fn overwrite(&self, key: &str, value: &[u8]) {
        let (_, version) = self.inner.get(key);
        self.inner.set(key, value, version).unwrap();
    }
}

fn source() -> Source {
    Source::Registry(Keyregistry {
        endpoint: endpoint("/"),
        cache: cache(),
    })
}

fn worker_on(data: Rc<dyn SharedData>, secret: &str, source: Source) -> Gate {
    let secret = Secret::new(secret.repeat(32));
    let data = Sealed::new(data, secret);
    let keys = RemoteKeys::new(
        source,
        data,
        Box::new(Anonymous),
        Rc::default(),
        Chance::default(),
    );
    gate(
        rules(),
        Keys::Remote(Box::new(keys)),
        Box::new(VoidNonceStore),
    )
}

/// What anybody can write.
pub(super) fn unsigned(header: &serde_json::Value, claims: &serde_json::Value) -> String {
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = URL_SAFE_NO_PAD.encode([1; 256]);
    format!("{}.{}.{signature}", part(header), part(claims))
}

/// Asks for the key of this id, which the registry then answers for.
fn fetch(gate: &mut Gate, kid: &str, status: u16, now: Timestamp) {
    let mut claims = TestSigner::claims(kid);
    claims["iat"] = now.seconds().into();
    claims["exp"] = (now.seconds() + 200).into();
    let header = serde_json::json!({"alg": "RS256", "kid": kid});
    let token = unsigned(&header, &claims);
    request(gate, 99, &token, now);
    for Fetch { id, .. } in gate.begin_fetches(now) {
        let jwk = TestSigner::service().public_key().to_jwk(kid).to_string();
        answer(gate, &id, status, &jwk, now);
    }
    gate.on_stream_end(99);
}

/// What becomes of a request with the key `k1` while the registry cannot be asked.
fn while_down(gate: &mut Gate, now: Timestamp) -> Decision {
    let mut claims = TestSigner::claims("n-down");
    claims["iat"] = now.seconds().into();
    claims["exp"] = (now.seconds() + 200).into();
    match request(gate, 98, &TestSigner::service().sign(&claims), now) {
        Decision::Wait => {
            gate.begin_fetches(now);
            down(gate, now).remove(0).1
        }
        decided => decided,
    }
}

#[test]
fn a_key_serves_past_its_time_while_strangers_ask_for_others() {
    let shared: Rc<InMemory> = Rc::default();
    let mut one = worker_with_key(&shared);
    for number in 0..300 {
        fetch(
            &mut one,
            &format!("forged-{number}"),
            404,
            later(number / 5),
        );
    }
    assert_accepted(&while_down(&mut one, later(110)));
}

#[test]
fn a_note_that_another_plugin_wipes_lets_no_key_serve_past_its_time() {
    let data = Rc::new(Watched::default());
    let mut gate = worker_on(data.clone(), "", source());
    fetch(&mut gate, "k1", 200, now());
    for key in data.keys.borrow().clone() {
        if key.contains(".mark.") {
            data.overwrite(&key, b"");
        }
    }
    let unavailable = Refusal::Key(KeyProblem::Unavailable);
    assert_eq!(refusal(while_down(&mut gate, later(110))), unavailable);
}

#[test]
fn with_a_secret_another_plugin_cannot_plant_a_key() {
    // Another plugin knows the format: it is a worker with a secret of its own, or none.
    for secret in ["", "b"] {
        let data = Rc::new(Watched::default());
        let mut ours = worker_on(data.clone(), "a", source());
        fetch(&mut ours, "k1", 404, now());
        let ours_keys: Vec<_> = data.keys.borrow().iter().cloned().collect();
        let theirs = Rc::new(Watched::default());
        fetch(
            &mut worker_on(theirs.clone(), secret, source()),
            "k1",
            200,
            now(),
        );
        let planted = |part| {
            let keys = theirs.keys.borrow();
            let key = keys.iter().find(|key| key.contains(part)).unwrap();
            theirs.get(key).0
        };
        for key in &ours_keys {
            for part in [".mark.", ".had."] {
                data.overwrite(key, &planted(part));
            }
        }
        let mut other = worker_on(data.clone(), "a", source());
        assert_waits(&request(&mut other, 1, &token(1), now()));
    }
}

#[test]
fn with_a_secret_a_value_is_worth_nothing_in_another_place() {
    let data = Rc::new(Watched::default());
    let mut gate = worker_on(data.clone(), "a", source());
    fetch(&mut gate, "k1", 200, now());
    fetch(&mut gate, "k2", 403, now());
    let keys: Vec<_> = data.keys.borrow().iter().cloned().collect();
    let had = keys.iter().find(|key| key.contains(".had.")).unwrap();
    let (good, _) = data.get(had);
    for key in keys.iter().filter(|key| *key != had) {
        data.overwrite(key, &good);
    }
    let mut other = worker_on(data, "a", source());
    let token = with_kid("k2", "n1");
    assert_waits(&request(&mut other, 1, &token, now()));
}

#[test]
fn a_key_that_left_its_set_while_this_worker_did_not_look_serves_no_more() {
    let sets = || {
        Source::Sets(Jwks {
            issuers: vec![("svc".into(), endpoint("/jwks.json"))],
            cache: cache(),
        })
    };
    let data: Rc<InMemory> = Rc::default();
    let (mut one, mut two) = (
        worker_on(data.clone(), "", sets()),
        worker_on(data, "", sets()),
    );
    let set_id = FetchId::Set("svc".into());
    let set = |gate: &mut Gate, asked: &str, kids: &[&str], now: Timestamp| {
        let mut claims = TestSigner::claims(asked);
        claims["iat"] = now.seconds().into();
        claims["exp"] = (now.seconds() + 200).into();
        let header = serde_json::json!({"alg": "RS256", "kid": asked});
        request(
            gate,
            9,
            &TestSigner::service().sign_with(&header, &claims),
            now,
        );
        assert_eq!(gate.begin_fetches(now).len(), 1);
        let key = TestSigner::service().public_key();
        let keys: Vec<_> = kids.iter().map(|kid| key.to_jwk(kid)).collect();
        let body = serde_json::json!({ "keys": keys }).to_string();
        answer(gate, &set_id, 200, &body, now);
        gate.on_stream_end(9);
    };
    set(&mut one, "k1", &["k1", "k2"], now());
    // The other worker has never heard of k1 when it is told that it is gone.
    set(&mut two, "new", &["k2", "new"], later(50));
    let mut claims = TestSigner::claims("n-down");
    claims["exp"] = (NOW + 300).into();
    let mut down = |kid: &str| {
        let header = serde_json::json!({"alg": "RS256", "kid": kid});
        let token = TestSigner::service().sign_with(&header, &claims);
        match request(&mut one, 98, &token, later(120)) {
            Decision::Wait => {
                one.begin_fetches(later(120));
                one.on_response(&set_id, Err("down".into()), later(120));
                one.decide(later(120)).remove(0).1
            }
            decided => decided,
        }
    };
    let unavailable = Refusal::Key(KeyProblem::Unavailable);
    assert_eq!(refusal(down("k1")), unavailable);
    assert_accepted(&down("k2"));
}

#[test]
fn a_lease_from_before_the_clock_went_back_keeps_no_request_waiting() {
    let shared: Rc<InMemory> = Rc::default();
    let (mut one, mut two) = (worker(&shared), worker(&shared));
    let year = 31_536_000;
    let mut claims = TestSigner::claims("n1");
    claims["iat"] = (NOW + year).into();
    claims["exp"] = (NOW + year + 100).into();
    let token_then = TestSigner::service().sign(&claims);
    assert_waits(&request(&mut one, 1, &token_then, later(year)));
    assert_eq!(one.begin_fetches(later(year)).len(), 1);
    assert_waits(&request(&mut two, 1, &token(1), now()));
    assert_eq!(two.begin_fetches(now()).len(), 1);
}
