//! A whole fleet, in virtual time: first the signers, then the verifiers, which see what the
//! signers did.
//!
//! Nobody's requests change what the registry answers to others, so proxies are simulated one
//! after the other.

use super::plan::Plan;
use super::registry::Registry;
use super::signer::{self, Service};
use super::tally::Tally;
use super::verifier;
use fastrand::Rng;

/// What arrives at the registry. The same plan has the same outcome every time.
pub(super) fn simulate(plan: &Plan) -> Tally {
    let registry = Registry::new(plan);
    let mut tally = Tally::default();
    let proxies = plan.fleet.proxies;
    let random = |half: u64, proxy: usize| Rng::with_seed(half << 32 | proxy as u64);
    let services: Vec<Service> = (0..proxies)
        .map(|proxy| signer::live(plan, &registry, &mut random(1, proxy), &mut tally))
        .collect();
    for proxy in 0..proxies {
        // The services stand in a ring; each is called by those that follow it.
        let callers: Vec<usize> = (1..=plan.fleet.callers)
            .map(|step| (proxy + step) % proxies)
            .collect();
        let random = &mut random(2, proxy);
        verifier::live(plan, &registry, &services, &callers, random, &mut tally);
    }
    tally
}
