//! Attacks on the verification as data: the token, the key that the key server has, and what must
//! come of it.
//!
//! `testdata/attacks.json` names the keys and the cases. Every token was made with an
//! implementation that is not ours (Python's `cryptography`), for the issuer `svc`, the key id `k1`
//! and the moment [`NOW`]. A case is `accepted`, or has the label of its refusal; the accepted ones
//! show that the others are refused for what is wrong with them.

use crate::audience::Audience;
use crate::key::KeyName;
use crate::machine::{KeyAnswer, KeySource, Machine, Progress};
use crate::nonce::VoidNonceStore;
use crate::policy::Policy;
use crate::refusal::KeyProblem;
use crate::registry::{Response, interpret};
use crate::signature::PureRust;
use crate::testing::{NOW, TestSigner};
use crate::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::task::Poll;
use std::time::Duration;
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[derive(Deserialize)]
struct Attacks {
    keys: HashMap<String, Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    /// What the key server answers with.
    key: String,
    token: String,
    outcome: String,
}

/// A key server that knows one key.
struct KeyServer<'a>(&'a Value);

impl KeySource for KeyServer<'_> {
    fn key(&mut self, name: &KeyName, _: Timestamp) -> Poll<KeyAnswer> {
        if *name != TestSigner::key_name() {
            return Poll::Ready(Err(KeyProblem::Unknown));
        }
        let body = self.0.to_string();
        let response = Response {
            status: 200,
            cache_control: None,
            body: body.as_bytes(),
        };
        Poll::Ready(interpret(name, response, Duration::from_secs(60)).answer)
    }
}

fn outcome(case: &Case, keys: &HashMap<String, Value>) -> &'static str {
    let mut machine = Machine {
        policy: &Policy::new(Audience::new("https://api")),
        keys: &mut KeyServer(&keys[&case.key]),
        signatures: &PureRust,
        nonces: &mut VoidNonceStore,
        token_cache: None,
    };
    let now = Timestamp::from_seconds(NOW).unwrap();
    match machine.start(&case.token, now) {
        Progress::Done(Ok(_)) => "accepted",
        Progress::Done(Err(refusal)) => refusal.label(),
        Progress::AwaitsKey(_) => "waits",
    }
}

#[test]
fn each_attack_is_refused_for_its_reason() {
    let json = include_str!("../testdata/attacks.json");
    let Attacks { keys, cases } = serde_json::from_str(json).unwrap();
    assert_eq!(cases.len(), 318);
    let names: HashSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len());
    let wrong: Vec<_> = cases
        .iter()
        .map(|case| (&case.name, &case.outcome, outcome(case, &keys)))
        .filter(|(_, expected, found)| expected != found)
        .collect();
    assert!(wrong.is_empty(), "expected, found: {wrong:#?}");
    let accepted = cases.iter().filter(|case| case.outcome == "accepted");
    assert_eq!(accepted.count(), 13);
}
