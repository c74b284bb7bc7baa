//! Strangers who invent keys, and services whose keys are new.

use super::revocation::unsigned;
use super::*;
use std::cell::Cell;
use std::net::Ipv4Addr;

/// Requests that come from an address that the test chooses.
#[derive(Clone, Default)]
struct From(Rc<Cell<u32>>);

impl Clients for From {
    fn address(&self) -> Option<Vec<u8>> {
        Ipv4Addr::from(self.0.get()).address()
    }
}

/// The attacker's first address, and those of others.
const STRANGERS: u32 = 0x7f00_0002;
const CLEAN: u32 = 0x7f00_ff01;

struct World {
    gates: Vec<Gate>,
    from: From,
    now: Timestamp,
    number: u32,
}

impl World {
    fn new(workers: usize) -> Self {
        let (from, shared) = (From::default(), Rc::default());
        let registry = Keyregistry {
            endpoint: endpoint("/"),
            cache: cache(),
        };
        let worker = |_| {
            let source = Source::Registry(registry.clone());
            worker_with_clients(source, &shared, Box::new(from.clone()))
        };
        Self {
            gates: (0..workers).map(worker).collect(),
            from,
            now: now(),
            number: 0,
        }
    }

    /// A forged token with a key that does not exist. It is answered before the next one comes.
    fn forged(&mut self, source: u32, issuer: &str) {
        let (kid, token) = self.unsigned(issuer, None);
        self.ask(0, source, issuer, &kid, &token, 404);
    }

    /// The first request of a service with a key that exists.
    fn service(&mut self, worker: usize, source: u32, issuer: &str, kid: &str) -> bool {
        self.number += 1;
        let mut claims = TestSigner::claims(&format!("n{}", self.number));
        claims["iss"] = issuer.into();
        claims["iat"] = self.now.seconds().into();
        claims["exp"] = (self.now.seconds() + 200).into();
        let header = serde_json::json!({"alg": "RS256", "kid": kid});
        let token = TestSigner::service().sign_with(&header, &claims);
        self.ask(worker, source, issuer, kid, &token, 200)
    }

    fn unsigned(&mut self, issuer: &str, kid: Option<&str>) -> (String, String) {
        self.number += 1;
        let kid = kid.map_or(format!("forged-{}", self.number), str::to_owned);
        let mut claims = TestSigner::claims("n");
        claims["iss"] = issuer.into();
        claims["iat"] = self.now.seconds().into();
        claims["exp"] = (self.now.seconds() + 200).into();
        let header = serde_json::json!({"alg": "RS256", "kid": kid});
        (kid, unsigned(&header, &claims))
    }

    /// Whether the request was accepted.
    fn ask(
        &mut self,
        worker: usize,
        source: u32,
        issuer: &str,
        kid: &str,
        token: &str,
        status: u16,
    ) -> bool {
        self.from.0.set(source);
        let gate = &mut self.gates[worker];
        let mut decision = request(gate, 1, token, self.now);
        if matches!(decision, Decision::Wait) {
            gate.begin_fetches(self.now);
            let id = FetchId::Key(KeyName::new(issuer.into(), kid.into()).unwrap());
            let jwk = TestSigner::service().public_key().to_jwk(kid).to_string();
            decision = answer(gate, &id, status, &jwk, self.now).remove(0).1;
        }
        if let Decision::Accept(token) = &decision {
            gate.note_accepted(token, self.now);
        }
        matches!(decision, Decision::Accept(_))
    }

    /// `strangers` sends twelve forgeries a second for a minute; each ten seconds `client` asks.
    fn flood(
        &mut self,
        mut stranger: impl FnMut(&mut Self, u32),
        mut client: impl FnMut(&mut Self, u32) -> bool,
    ) -> usize {
        let mut accepted = 0;
        for tick in 0..720 {
            self.now = self.now + Duration::from_millis(83);
            stranger(self, tick);
            if tick % 120 == 60 {
                accepted += usize::from(client(self, tick / 120));
            }
        }
        accepted
    }
}

#[test]
fn strangers_cannot_make_the_filter_flood_the_registry() {
    let mut world = World::new(1);
    let mut begun = 0;
    for number in 0..1000 {
        world.from.0.set(STRANGERS + number);
        let (_, token) = world.unsigned(&format!("issuer-{number}"), None);
        request(&mut world.gates[0], number, &token, world.now);
        begun += world.gates[0].begin_fetches(world.now).len();
    }
    assert_eq!(begun, 50);
}

#[test]
fn new_services_are_let_in_while_one_source_floods_with_invented_issuers_and_keys() {
    let mut world = World::new(1);
    let stranger = |world: &mut World, tick| world.forged(STRANGERS, &format!("x-{tick}"));
    let client = |world: &mut World, turn| {
        let services = (0..7).map(|n| format!("new-{turn}-{n}"));
        services
            .into_iter()
            .all(|name| world.service(0, CLEAN, &name, "k1"))
    };
    assert_eq!(world.flood(stranger, client), 6);
}

#[test]
fn new_services_are_let_in_while_many_sources_flood() {
    let mut world = World::new(1);
    let stranger =
        |world: &mut World, tick| world.forged(STRANGERS + tick % 60, &format!("x-{tick}"));
    let client =
        |world: &mut World, turn| world.service(0, CLEAN + turn, &format!("new-{turn}"), "k1");
    assert_eq!(world.flood(stranger, client), 6);
}

#[test]
fn a_service_rotates_its_key_while_one_source_floods_in_its_name() {
    let mut world = World::new(1);
    assert!(world.service(0, CLEAN, "svc", "k-old"));
    let stranger = |world: &mut World, _| world.forged(STRANGERS, "svc");
    let client = |world: &mut World, turn| world.service(0, CLEAN, "svc", &format!("k-{turn}"));
    assert_eq!(world.flood(stranger, client), 6);
}

#[test]
fn a_service_rotates_its_key_while_any_number_of_sources_flood_in_its_name() {
    let mut world = World::new(2);
    assert!(world.service(1, CLEAN, "svc", "k-old"));
    let stranger = |world: &mut World, tick| world.forged(STRANGERS + tick, "svc");
    // Its first request came to another worker.
    let client = |world: &mut World, turn| world.service(0, CLEAN, "svc", &format!("k-{turn}"));
    assert_eq!(world.flood(stranger, client), 6);
}

#[test]
fn a_service_rotates_its_key_while_any_number_of_sources_invent_issuers() {
    let mut world = World::new(1);
    assert!(world.service(0, CLEAN, "svc", "k-old"));
    let stranger = |world: &mut World, tick| world.forged(STRANGERS + tick, &format!("x-{tick}"));
    // From an address that it has not had before.
    let client =
        |world: &mut World, turn| world.service(0, CLEAN + 1 + turn, "svc", &format!("k-{turn}"));
    assert_eq!(world.flood(stranger, client), 6);
}

#[test]
fn the_same_unknown_key_is_asked_for_once_while_the_answer_holds() {
    let mut world = World::new(1);
    let (kid, token) = world.unsigned("svc", None);
    assert!(!world.ask(0, STRANGERS, "svc", &kid, &token, 404));
    for number in 0..200 {
        world.forged(STRANGERS + number, &format!("x-{number}"));
    }
    let decision = request(&mut world.gates[0], 1, &token, world.now);
    assert_eq!(refusal(decision), Refusal::Key(KeyProblem::Unknown));
}
