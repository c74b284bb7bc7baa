use super::*;
use crate::shared_data::in_memory::InMemory;
use jwt_core::config::filter::{Cache, Endpoint, Keyregistry};
use jwt_core::testing::{NOW, TestSigner};
use std::rc::Rc;

const MINUTE: Duration = Duration::from_secs(60);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(NOW + seconds).unwrap()
}

fn worker(data: &Rc<InMemory>) -> SharedKeys {
    let endpoint = Endpoint {
        cluster: "keys".into(),
        authority: "keys".into(),
        path: "/".into(),
        timeout: MINUTE,
    };
    let cache = Cache {
        duration: MINUTE,
        stale_if_error: MINUTE,
    };
    let source = Source::Registry(Keyregistry { endpoint, cache });
    SharedKeys::new(Sealed::new(data.clone(), None), &source, [7; 16])
}

fn name(key_id: &str) -> KeyName {
    KeyName::new("svc".into(), key_id.into()).unwrap()
}

fn key() -> KeyAnswer {
    Ok(Rc::new(TestSigner::service().public_key()))
}

fn standing(keys: &SharedKeys, key_id: &str, seconds: i64) -> Standing {
    keys.published(&name(key_id), at(seconds)).standing
}

#[test]
fn answers_about_keys_never_had_displace_no_refusal_and_no_key() {
    let keys = worker(&Rc::default());
    keys.publish(&name("good"), &key(), MINUTE, at(0));
    keys.publish(&name("revoked"), &key(), MINUTE, at(0));
    keys.publish(&name("revoked"), &Err(KeyProblem::Expired), MINUTE, at(1));
    // Three times as many names as there are slots: whatever slot is aimed at is hit.
    for number in 0..3 * SLOTS {
        let problem = match number % 3 {
            0 => KeyProblem::Unknown,
            1 => KeyProblem::AwaitsApproval,
            _ => KeyProblem::Unavailable,
        };
        let name = name(&format!("forged-{number}"));
        keys.publish(&name, &Err(problem), MINUTE, at(2));
    }
    let revoked = keys.published(&name("revoked"), at(3));
    assert_eq!(revoked.standing, Standing::Refused);
    let (answer, _) = revoked.record.unwrap().answer(at(3)).unwrap();
    assert_eq!(answer.unwrap_err(), KeyProblem::Expired);
    let good = keys.published(&name("good"), at(3));
    assert_eq!(good.standing, Standing::Good);
    assert!(good.record.unwrap().answer(at(3)).unwrap().0.is_ok());
}

#[test]
fn a_refusal_stands_until_the_key_server_says_otherwise() {
    let keys = worker(&Rc::default());
    assert_eq!(standing(&keys, "k", 0), Standing::Unknown);
    keys.publish(&name("k"), &key(), MINUTE, at(0));
    assert_eq!(standing(&keys, "k", 100), Standing::Good);
    keys.publish(&name("k"), &Err(KeyProblem::Unknown), MINUTE, at(10));
    keys.publish(&name("k"), &Err(KeyProblem::Unavailable), MINUTE, at(20));
    assert_eq!(standing(&keys, "k", 100), Standing::Refused);
    keys.publish(&name("k"), &key(), MINUTE, at(30));
    assert_eq!(standing(&keys, "k", 100), Standing::Good);
    // As long as any copy may serve, and no longer.
    assert_eq!(standing(&keys, "k", 149), Standing::Good);
    assert_eq!(standing(&keys, "k", 150), Standing::Unknown);
}

#[test]
fn a_refusal_outlasts_every_copy_of_the_key() {
    let keys = worker(&Rc::default());
    keys.publish(&name("k"), &key(), MINUTE, at(0));
    // Another worker has it until 60 + 60; a shorter life afterwards does not end its note.
    keys.publish(&name("k"), &key(), Duration::from_secs(1), at(2));
    keys.publish(&name("k"), &Err(KeyProblem::Expired), MINUTE, at(3));
    assert_eq!(standing(&keys, "k", 119), Standing::Refused);
}

#[test]
fn many_keys_in_rotation_displace_no_refusal() {
    let keys = worker(&Rc::default());
    for number in 0..2000 {
        let name = name(&format!("k{number}"));
        keys.publish(&name, &key(), MINUTE, at(0));
        keys.publish(&name, &Err(KeyProblem::Expired), MINUTE, at(1));
    }
    let refused = (0..2000).filter(|number| {
        let standing = standing(&keys, &format!("k{number}"), 2);
        standing == Standing::Refused
    });
    assert_eq!(refused.count(), 2000);
}
