//! One verifier: the filter's own keys on each worker, with what they share, and requests that
//! come by chance.

use super::plan::{Plan, Stranger, at};
use super::registry::Registry;
use super::signer::Service;
use super::tally::{Method, Tally};
use fastrand::Rng;
use filter_wasm::events::Events;
use filter_wasm::keys::{Anonymous, Chance, Fetch, FetchId, Keys, RemoteKeys, Source};
use filter_wasm::sealed::Sealed;
use filter_wasm::shared_data::in_memory::InMemory;
use jwt_core::config::filter::{Cache, Endpoint, Keyregistry};
use jwt_core::key::KeyName;
use jwt_core::machine::KeySource as _;
use jwt_core::time::Timestamp;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// How long a connection takes to be refused.
const REFUSAL: Duration = Duration::from_millis(1);

/// How often a worker looks whether another one has an answer, as the filter does.
const LOOK: Duration = Duration::from_millis(5);

/// The modulus of the keys: any odd number of 2048 bits.
const MODULUS_LENGTH: usize = 342;

/// Lives the life of one verifier to its end, and counts what it asks of the registry. `callers`
/// are numbers in `services`.
pub(super) fn live(
    plan: &Plan,
    registry: &Registry,
    services: &[Service],
    callers: &[usize],
    random: &mut Rng,
    tally: &mut Tally,
) {
    let shared = Rc::<InMemory>::default();
    let workers = (0..plan.fleet.workers)
        .map(|_| worker(plan, &shared, random.u64(..)))
        .collect();
    let mut verifier = Verifier {
        plan,
        registry,
        services,
        modulus: "_".repeat(MODULUS_LENGTH - 1) + "w",
        workers,
        events: BinaryHeap::new(),
        invented: 0,
        random,
        tally,
    };
    let start = at(verifier.random.f64() * plan.start_within);
    for caller in callers {
        verifier.request_later(*caller, start);
    }
    if let Some(Stranger { active, .. }) = &plan.stranger {
        verifier.schedule(at(active.start), What::Stranger);
    }
    verifier.run(at(plan.end));
}

fn worker(plan: &Plan, shared: &Rc<InMemory>, seed: u64) -> Keys {
    let source = Source::Registry(Keyregistry {
        endpoint: Endpoint {
            cluster: "registry".into(),
            authority: "registry".into(),
            path: "/".into(),
            timeout: Duration::from_secs(5),
        },
        cache: Cache {
            duration: plan.fleet.cache_duration,
            stale_if_error: plan.fleet.stale_if_error,
        },
    });
    let events = Rc::<Events>::default();
    Keys::Remote(Box::new(RemoteKeys::new(
        source,
        Sealed::new(shared.clone(), None),
        Box::new(Anonymous),
        events,
        Chance {
            seed,
            hash_key: [0; 16],
        },
    )))
}

struct Verifier<'a> {
    plan: &'a Plan,
    registry: &'a Registry,
    services: &'a [Service],
    modulus: String,
    workers: Vec<Keys>,
    events: BinaryHeap<Reverse<Event>>,
    /// Key ids that a stranger has invented.
    invented: u64,
    random: &'a mut Rng,
    tally: &'a mut Tally,
}

enum What {
    /// A request of this caller comes.
    Request(usize),
    /// A request of the stranger comes.
    Stranger,
    /// The registry has answered a worker, or has not in time.
    Answer(usize, FetchId),
    /// A worker looks for what others have fetched.
    Look(usize),
}

struct Event {
    at: Timestamp,
    what: What,
}

impl Verifier<'_> {
    fn schedule(&mut self, at: Timestamp, what: What) {
        self.events.push(Reverse(Event { at, what }));
    }

    /// Requests come by chance, independently of each other.
    fn request_later(&mut self, caller: usize, now: Timestamp) {
        let gap = -(1.0 - self.random.f64()).ln();
        let next = now + self.plan.fleet.request_gap.mul_f64(gap);
        self.schedule(next, What::Request(caller));
    }

    fn run(&mut self, end: Timestamp) {
        while let Some(Reverse(Event { at: now, what })) = self.events.pop() {
            if now >= end {
                return;
            }
            match what {
                What::Request(caller) => {
                    let number = self.services.get(caller).and_then(|it| it.signing_key(now));
                    if let Some(number) = number {
                        self.tally.requests += 1;
                        self.request(&name(caller, number), now);
                    }
                    self.request_later(caller, now);
                }
                What::Stranger => self.stranger(now),
                What::Answer(worker, id) => self.answer(worker, &id, now),
                What::Look(worker) => self.work(worker, now),
            }
        }
    }

    fn request(&mut self, name: &KeyName, now: Timestamp) {
        let index = self.random.usize(..self.workers.len());
        let Some(worker) = self.workers.get_mut(index) else {
            return;
        };
        if matches!(worker.key(name, now), Poll::Ready(Err(_))) {
            self.tally.refused += 1;
        }
        self.work(index, now);
    }

    fn stranger(&mut self, now: Timestamp) {
        let Some(Stranger { active, per_second }) = &self.plan.stranger else {
            return;
        };
        let next = now + Duration::from_secs_f64(1.0 / per_second);
        if next < at(active.end) {
            self.schedule(next, What::Stranger);
        }
        self.invented += 1;
        let id = format!("invented-{}", self.invented);
        let name = KeyName::new("service-0".into(), id).expect("a short name");
        let refused = self.tally.refused;
        self.request(&name, now);
        // Of no interest: it is the stranger who is refused.
        self.tally.refused = refused;
    }

    /// What the filter does at its next tick.
    fn work(&mut self, index: usize, now: Timestamp) {
        let Some(Keys::Remote(worker)) = self.workers.get_mut(index) else {
            return;
        };
        if !worker.has_work() {
            return;
        }
        let fetches = worker.begin_fetches(now);
        worker.collect_from_others(now);
        if worker.has_work() {
            self.schedule(now + LOOK, What::Look(index));
        }
        let down = self.registry.is_down(now);
        let pause = if down {
            REFUSAL
        } else {
            self.plan.fleet.latency
        };
        for Fetch { id, .. } in fetches {
            self.tally.count(Method::Get, now);
            self.schedule(now + pause, What::Answer(index, id));
        }
    }

    fn answer(&mut self, index: usize, id: &FetchId, now: Timestamp) {
        let FetchId::Key(name) = id else { return };
        let (answer, body) = self.ask(name, now);
        let response = match &answer {
            Some(answer) => Ok(answer.response(&body)),
            None => Err("connection refused".to_owned()),
        };
        if let Some(Keys::Remote(worker)) = self.workers.get_mut(index) {
            let answers = worker.record(id, response, now);
            let known = !name.key_id().starts_with("invented");
            let refused = answers.iter().filter(|(_, it)| known && it.answer.is_err());
            self.tally.refused += refused.count() as u64;
        }
        self.work(index, now);
    }

    /// The registry's answer about a key, and the key.
    fn ask(&self, name: &KeyName, now: Timestamp) -> (Option<super::registry::Answer>, String) {
        if self.registry.is_down(now) {
            return (None, String::new());
        }
        let number = |text: &str| text.rsplit('-').next().and_then(|it| it.parse().ok());
        let service = number(name.issuer()).and_then(|it: usize| self.services.get(it));
        let number = number(name.key_id()).filter(|_| name.key_id().starts_with("key-"));
        let unknown = Service::default();
        let keys = &service.unwrap_or(&unknown).keys;
        let answer = self.registry.get(keys, number.unwrap_or(usize::MAX), now);
        let (key_id, modulus) = (name.key_id(), &self.modulus);
        let body = format!(
            r#"{{"kty":"RSA","use":"sig","alg":"RS256","kid":"{key_id}","n":"{modulus}","e":"AQAB"}}"#
        );
        (Some(answer), body)
    }
}

fn name(service: usize, key: usize) -> KeyName {
    KeyName::new(format!("service-{service}"), format!("key-{key}")).expect("a short name")
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}
