//! What was revoked or replaced does not come back.

use super::*;

/// Every way back for a key that has gone, and for another key to its id.
fn assert_stays_away(world: &World, service: &str, key: u32) {
    let source = ip("203.0.113.9");
    let id = key.to_string();
    let put = |service: &str, id: &str, key| {
        let publication = world.publication(service, id, key);
        world.publish_it(publication.from_source(source.clone()))
    };
    assert!(is_forbidden(&put(service, &id, key)), "itself");
    assert!(is_forbidden(&put(service, &id, 900)), "another key");
    assert!(is_forbidden(&put(service, "new", key)), "another id");
    assert!(is_forbidden(&put("elsewhere", &id, key)), "another service");
    let imported = world.import(service, key);
    assert!(imported.is_err(), "imported");
    let seed = NamedKey {
        service: service.into(),
        kid: id,
        key: world
            .publication(service, "k", key)
            .key(KeyState::Approved, None),
    };
    let refused = world.registry.seed(vec![seed.clone()]).unwrap();
    assert_eq!(refused, [seed], "seeded");
    world.import("rotator", 800).unwrap();
    let signer = world.publication("rotator", "800", 800);
    let to = world.publication("rotator", "next", key);
    let rotated = world.registry.update(|state, _| {
        let key = signer.thumbprint();
        rotate(
            state,
            &world.rules,
            &to,
            &signer.stored_name(),
            &key,
            world.now,
        )
    });
    assert!(is_forbidden(&rotated), "rotated to");
    world.registry.remove("rotator", "800").unwrap();
}

#[test]
fn a_revoked_key_does_not_come_back() {
    let world = World::new();
    world.import("svc", 1).unwrap();
    world.registry.remove("svc", "1").unwrap();
    assert_stays_away(&world, "svc", 1);
    // Unless the operator says so.
    let publication = world.publication("svc", "1", 1);
    import(&world.registry, &publication, true).unwrap();
    assert!(world.has("svc", 1));
    world.registry.remove("svc", "1").unwrap();
    assert!(is_forbidden(&world.publish("svc", 1, &Source::unknown())));
}

#[test]
fn a_key_that_a_rotation_has_replaced_does_not_come_back() {
    for grace in [0, 300] {
        let mut world = World::new();
        world.rules.grace = Duration::from_secs(grace);
        world.import("svc", 1).unwrap();
        world.rotate("svc", 1, 2).unwrap();
        assert_stays_away(&world, "svc", 1);
        assert!(is_forbidden(&world.rotate("svc", 2, 1)));
        // Nor once it has been forgotten.
        world.now = world.now + Duration::from_secs(100 * 86_400);
        world.registry.sweep(world.now).unwrap();
        assert!(!world.has("svc", 1));
    }
}

#[test]
fn a_key_that_has_gone_is_served_under_no_other_name() {
    let names = [("svc", "1"), ("svc", "other"), ("elsewhere", "1")];
    for (index, (gone, kid)) in names.into_iter().enumerate() {
        for grace in [None, Some(0), Some(300)] {
            let mut world = World::new();
            for (service, kid) in names {
                let publication = world.publication(service, kid, 1);
                import(&world.registry, &publication, false).unwrap();
            }
            world.import("svc", 7).unwrap();
            match grace {
                None => assert!(world.registry.remove(gone, kid).unwrap()),
                Some(grace) => {
                    world.rules.grace = Duration::from_secs(grace);
                    let signer = world.publication(gone, kid, 1);
                    let next = world.publication(gone, "next", 2);
                    let (signer, key) = (signer.stored_name(), signer.thumbprint());
                    let rules = &world.rules;
                    let rotated = world
                        .registry
                        .update(|state, _| rotate(state, rules, &next, &signer, &key, world.now));
                    rotated.unwrap();
                }
            }
            for (other, (service, kid)) in names.into_iter().enumerate() {
                let is_kept = other == index && grace == Some(300);
                let found = world.registry.get(service, kid);
                assert_eq!(found.is_some(), is_kept, "{service} {kid} {grace:?}");
            }
            assert!(world.has("svc", 7));
        }
    }
}

#[test]
fn a_key_is_no_rotation_of_itself() {
    let world = World::new();
    world.import("svc", 1).unwrap();
    let signer = world.publication("svc", "1", 1);
    let again = world.publication("svc", "again", 1);
    let rotated = world.registry.update(|state, _| {
        let key = signer.thumbprint();
        rotate(
            state,
            &world.rules,
            &again,
            &signer.stored_name(),
            &key,
            world.now,
        )
    });
    assert!(is_forbidden(&rotated));
    assert!(world.has("svc", 1));
}

#[test]
fn a_key_that_was_never_approved_leaves_no_tombstone() {
    let world = World::new();
    let source = ip("203.0.113.9");
    for key in 0..100 {
        world.publish("svc", key, &source).unwrap();
        world.registry.remove("svc", &key.to_string()).unwrap();
    }
    assert_eq!(world.count("revoked"), 0);
    assert!(world.publish("svc", 5, &source).is_ok());
}
