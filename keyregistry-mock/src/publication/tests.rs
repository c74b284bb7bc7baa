//! The rules, without HTTP and without signatures.

mod revoked;

use super::*;
use crate::store::NamedKey;
use serde_json::json;
use std::net::{IpAddr, Ipv6Addr};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds).unwrap()
}

fn ip(text: &str) -> Source {
    text.parse::<IpAddr>().unwrap().into()
}

/// A small registry, and keys that cost no arithmetic: one for each number.
struct World {
    registry: Registry,
    rules: Rules,
    now: Timestamp,
}

const SMALL: Bounds = Bounds {
    pending: 100,
    pending_of_service: 20,
    pending_from_source: 40,
    approved: 30,
    approved_of_service: 10,
};

impl World {
    fn new() -> Self {
        Self {
            registry: Registry::in_memory().unwrap(),
            rules: Rules {
                bounds: SMALL,
                ..Rules::new("")
            },
            now: at(1_000_000),
        }
    }

    fn publication(&self, service: &str, kid: &str, key: u32) -> Publication {
        // Any number of 2048 bits passes for a modulus.
        let mut modulus = [0xff; 256];
        modulus[8..12].copy_from_slice(&key.to_be_bytes());
        let n = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, modulus);
        let jwk = json!({"kty": "RSA", "n": n, "e": "AQAB"}).to_string();
        let name = KeyName::new(service.into(), kid.into()).unwrap();
        let expires = Some(self.now + Duration::from_secs(86_400 * 30));
        Publication::new(name, jwk.as_bytes(), expires, None, self.now).unwrap()
    }

    /// Publishes a key that is named by its number.
    fn publish(&self, service: &str, key: u32, source: &Source) -> Result<Published, Denied> {
        let publication = self.publication(service, &key.to_string(), key);
        self.publish_it(publication.from_source(source.clone()))
    }

    fn publish_it(&self, publication: Publication) -> Result<Published, Denied> {
        self.registry.sweep(self.now).unwrap();
        let decide = |state: &State| publish_new(state, &self.rules, &publication, self.now);
        self.registry.update(|state, _| decide(state))
    }

    fn rotate(&self, service: &str, from: u32, to: u32) -> Result<Published, Denied> {
        let signer = self.publication(service, &from.to_string(), from);
        let publication = self.publication(service, &to.to_string(), to);
        let (signer, key) = (signer.stored_name(), signer.thumbprint());
        self.registry.sweep(self.now).unwrap();
        self.registry
            .update(|state, _| rotate(state, &self.rules, &publication, &signer, &key, self.now))
    }

    fn import(&self, service: &str, key: u32) -> Result<(), Denied> {
        import(
            &self.registry,
            &self.publication(service, &key.to_string(), key),
            false,
        )
    }

    fn approve(&self, service: &str, key: u32) -> Result<(), Denied> {
        let publication = self.publication(service, &key.to_string(), key);
        let thumbprint = publication.thumbprint();
        approve(&self.registry, &publication.name, &thumbprint, self.now)
    }

    fn has(&self, service: &str, key: u32) -> bool {
        self.registry.get(service, &key.to_string()).is_some()
    }

    fn count(&self, state: &str) -> usize {
        self.registry.count_by_state()[state]
    }
}

fn is_forbidden<T: std::fmt::Debug>(result: &Result<T, Denied>) -> bool {
    matches!(result, Err(Denied::Forbidden(_)))
}

#[test]
fn a_stranger_who_fills_the_room_of_pending_keys_displaces_only_his_own() {
    let world = World::new();
    let (honest, stranger) = (ip("198.51.100.7"), ip("203.0.113.9"));
    world.publish("early", 0, &honest).unwrap();
    for key in 1..1000 {
        let service = format!("service-{key}");
        world.publish(&service, key, &stranger).unwrap();
    }
    assert_eq!(world.count("pending"), 1 + SMALL.pending_from_source);
    world.publish("late", 1000, &honest).unwrap();
    for key in 2000..3000 {
        world
            .publish(&format!("service-{key}"), key, &stranger)
            .unwrap();
    }
    assert!(world.has("early", 0) && world.has("late", 1000));
    assert!(world.approve("late", 1000).is_ok());
}

#[test]
fn a_stranger_with_many_networks_displaces_only_his_own() {
    let world = World::new();
    let honest = [
        ip("198.51.100.7"),
        ip("2001:db8:ffff::1"),
        ip("2001:db9::1"),
    ];
    for (key, source) in (0..).zip(&honest) {
        world.publish("early", key, source).unwrap();
    }
    // Each key from another /64, in a /48 of another /32.
    for key in 10..2000_u16 {
        let address = Ipv6Addr::new(0x2001, 0xdb8, key % 7, key, 0, 0, 0, 1);
        let source = Source::from(IpAddr::from(address));
        world
            .publish(&format!("s{key}"), key.into(), &source)
            .unwrap();
    }
    assert_eq!(world.count("pending"), SMALL.pending);
    for (key, source) in (5000..).zip(&honest) {
        world.publish("late", key, source).unwrap();
    }
    for key in 0..3 {
        assert!(world.has("early", key), "{key}");
        assert!(world.has("late", 5000 + key), "{key}");
    }
}

#[test]
fn strangers_who_publish_under_a_services_name_do_not_lock_its_signer_out() {
    let world = World::new();
    let (owner, stranger) = (ip("198.51.100.7"), ip("203.0.113.9"));
    for key in 0..500 {
        world.publish("victim", key, &stranger).unwrap();
    }
    assert_eq!(world.count("pending"), SMALL.pending_of_service);
    world.publish("victim", 1000, &owner).unwrap();
    for key in 2000..2500 {
        world.publish("victim", key, &stranger).unwrap();
    }
    assert!(world.has("victim", 1000));
    assert_eq!(world.count("pending"), SMALL.pending_of_service);
    // The same from behind the proxy that the owner of another service sits behind.
    world.publish("neighbour", 3000, &stranger).unwrap();
    for key in 4000..4500 {
        world.publish("victim", key, &stranger).unwrap();
    }
    assert!(world.has("neighbour", 3000));
}

#[test]
fn one_key_under_many_names_is_one_pending_key() {
    let world = World::new();
    let source = ip("203.0.113.9");
    for number in 0..100 {
        let publication = world.publication("svc", &format!("k{number}"), 7);
        let outcome = world.publish_it(publication.from_source(source.clone()));
        assert_eq!(number == 0, outcome.is_ok(), "{outcome:?}");
        let publication = world.publication(&format!("svc{number}"), "k", 7);
        assert!(is_forbidden(&world.publish_it(publication)));
    }
    assert_eq!(world.count("pending"), 1);
}

#[test]
fn a_pending_key_has_an_end_even_without_expiration() {
    let mut world = World::new();
    let source = ip("203.0.113.9");
    for key in 0..10 {
        let publication = world.publication("svc", &key.to_string(), key);
        let publication = Publication {
            expires: None,
            ..publication
        };
        world
            .publish_it(publication.from_source(source.clone()))
            .unwrap();
    }
    world.approve("svc", 3).unwrap();
    world.now = world.now + world.rules.pending_life - Duration::from_secs(1);
    assert!(world.approve("svc", 4).is_ok());
    world.now = world.now + Duration::from_secs(1);
    assert!(matches!(world.approve("svc", 5), Err(Denied::Conflict(_))));
    let found = world.registry.find("svc", "5", world.now);
    assert_eq!(found, crate::Lookup::Unknown);
    world.publish("other", 99, &source).unwrap();
    assert_eq!(world.count("pending"), 1);
    // An approved key without expiration, of a signer that never rotates, stays.
    world.now = world.now + Duration::from_secs(10 * 365 * 86_400);
    world.registry.sweep(world.now).unwrap();
    assert!(world.has("svc", 3) && world.has("svc", 4) && !world.has("svc", 5));
    // And what was forgotten can be published again.
    world.publish("svc", 5, &source).unwrap();
}

#[test]
fn the_id_of_a_signer_cannot_be_taken_by_another_key() {
    let world = World::new();
    let thumbprint = world.publication("svc", "k", 1).thumbprint();
    let squatter = world.publication("svc", &thumbprint, 2);
    assert!(is_forbidden(&world.publish_it(squatter)));
    let owner = world.publication("svc", &thumbprint, 1);
    assert!(world.publish_it(owner).is_ok());
}

#[test]
fn a_registry_that_approves_by_itself_has_an_end_too() {
    let mut world = World::new();
    world.rules.approval = Approval::Automatic;
    let source = ip("203.0.113.9");
    for key in 0..10 {
        world.publish("svc", key, &source).unwrap();
    }
    let full = world.publish("svc", 10, &source);
    assert!(matches!(full, Err(Denied::Full)), "{full:?}");
    for key in 11..31 {
        world.publish(&format!("svc{key}"), key, &source).unwrap();
    }
    let full = world.publish("other", 50, &source);
    assert!(matches!(full, Err(Denied::Full)), "{full:?}");
    // Expired keys make room.
    world.now = world.now + Duration::from_secs(86_400 * 30);
    world.publish("svc", 10, &source).unwrap();
    assert_eq!((world.count("approved"), world.count("expired")), (1, 30));
    world.now = world.now + Duration::from_secs(86_400 * 30);
    world.registry.sweep(world.now).unwrap();
    assert_eq!((world.count("approved"), world.count("expired")), (0, 1));
}

#[test]
fn a_rotation_is_never_without_room_and_never_beyond_the_bounds() {
    for grace in [0, 300] {
        let mut world = World::new();
        world.rules.grace = Duration::from_secs(grace);
        world.import("svc", 0).unwrap();
        let stranger = ip("203.0.113.9");
        for key in 1000..1100 {
            world.publish("svc", key, &stranger).unwrap();
        }
        for key in 0..50 {
            world.rotate("svc", key, key + 1).unwrap();
            let served = world.count("approved") + world.count("retired");
            assert!(served <= SMALL.approved_of_service, "{served}");
        }
        // Others have filled it.
        for key in 200..230 {
            world.import("full", key).unwrap();
        }
        world.rotate("svc", 50, 51).unwrap();
        world.rotate("full", 200, 300).unwrap();
        assert!(world.has("svc", 51) && world.has("full", 300));
    }
}

#[test]
fn a_pending_key_of_a_stranger_does_not_stop_a_rotation_to_its_id() {
    let world = World::new();
    world.import("svc", 1).unwrap();
    let squatter = world.publication("svc", "2", 99);
    world.publish_it(squatter).unwrap();
    world.rotate("svc", 1, 2).unwrap();
    let key = world.registry.get("svc", "2").unwrap();
    assert_eq!(
        key.jwk.thumbprint(),
        world.publication("svc", "2", 2).thumbprint()
    );
    assert_eq!(key.state, KeyState::Approved);
    assert_eq!(world.count("pending"), 0);
}

#[test]
fn a_stranger_who_takes_the_id_in_time_is_not_approved_instead() {
    let world = World::new();
    let source = ip("203.0.113.9");
    let meant = world.publication("svc", "k", 1).thumbprint();
    let name = KeyName::new("svc".into(), "k".into()).unwrap();
    let unknown = approve(&world.registry, &name, &meant, world.now);
    assert!(matches!(unknown, Err(Denied::Unknown)));
    let stranger = world.publication("svc", "k", 2).from_source(source);
    world.publish_it(stranger).unwrap();
    let refused = approve(&world.registry, &name, &meant, world.now);
    assert!(matches!(refused, Err(Denied::Conflict(_))), "{refused:?}");
    assert_eq!(
        world.registry.get("svc", "k").unwrap().state,
        KeyState::Pending
    );
}

#[test]
fn an_approval_acts_on_pending_keys_alone() {
    let mut world = World::new();
    world.rules.grace = Duration::from_secs(300);
    let source = ip("203.0.113.9");
    world.publish("svc", 1, &source).unwrap();
    world.approve("svc", 1).unwrap();
    world.approve("svc", 1).unwrap();
    let is_conflict = |result| matches!(result, Err(Denied::Conflict(_)));
    world.rotate("svc", 1, 2).unwrap();
    assert!(is_conflict(world.approve("svc", 1)), "retired");
    world
        .registry
        .set_expiry("svc", "2", Some(world.now))
        .unwrap();
    assert!(is_conflict(world.approve("svc", 2)), "expired");
    world.registry.remove("svc", "2").unwrap();
    assert!(is_conflict(world.approve("svc", 2)), "revoked");
    // Revoked under one name after it was published under another.
    world.import("a", 7).unwrap();
    world.publish("b", 7, &source).unwrap();
    world.registry.remove("a", "7").unwrap();
    assert!(is_conflict(world.approve("b", 7)), "revoked elsewhere");
}

#[test]
fn a_purge_removes_pending_keys_of_its_kind_alone() {
    let mut world = World::new();
    let (v4, v6) = (ip("203.0.113.9"), ip("2001:db8:1:2::3"));
    world.publish("a", 1, &v4).unwrap();
    world.publish("b", 2, &v6).unwrap();
    world.publish("b", 3, &v4).unwrap();
    world.publish("b", 4, &v4).unwrap();
    world.approve("b", 4).unwrap();
    let run = |world: &World, filter: PurgeFilter, dry_run| {
        let purged = purge(&world.registry, &filter, dry_run, world.now).unwrap();
        let kids: Vec<String> = purged.into_iter().map(|key| key.kid).collect();
        kids.join(" ")
    };
    let from = |source: &str| PurgeFilter {
        source: Some(source.into()),
        ..PurgeFilter::default()
    };
    let of = |service: &str| PurgeFilter {
        service: Some(service.into()),
        ..PurgeFilter::default()
    };
    let expired = PurgeFilter {
        expired: true,
        ..PurgeFilter::default()
    };
    let nothing = purge(&world.registry, &PurgeFilter::default(), true, world.now);
    assert!(matches!(nothing, Err(Denied::Malformed(_))));
    assert_eq!(run(&world, expired.clone(), false), "");
    assert_eq!(run(&world, from("203.0.113.0/24"), true), "1 3");
    assert_eq!(run(&world, of("b"), true), "2 3");
    assert_eq!(run(&world, from("2001:db8::/32"), false), "2");
    let both = PurgeFilter {
        service: Some("b".into()),
        ..from("203.0.113.9")
    };
    assert_eq!(run(&world, both, false), "3");
    world.now = world.now + world.rules.pending_life;
    assert_eq!(run(&world, expired, false), "1");
    assert!(world.has("b", 4));
    // It was no revocation.
    assert!(world.publish("b", 2, &v6).is_ok());
}

#[test]
fn what_the_operator_put_there_gives_way_to_nothing() {
    let world = World::new();
    let key = world
        .publication("seeded", "k", 1)
        .key(KeyState::Pending, None);
    let key = Key {
        expires: None,
        ..key
    };
    let (service, kid) = ("seeded".to_owned(), "k".to_owned());
    world.registry.put(NamedKey { service, kid, key }).unwrap();
    for key in 2..500 {
        world.publish("seeded", key, &ip("203.0.113.9")).unwrap();
    }
    assert!(world.registry.get("seeded", "k").is_some());
    assert_eq!(world.count("pending"), 1 + SMALL.pending_of_service);
}
