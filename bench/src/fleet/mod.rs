//! What a fleet of proxies asks of its registry: calculated from the rules of caches and keys,
//! and simulated with those rules themselves.
//!
//! The simulation has no sockets and no clock. It runs [`jwt_core::key_lifecycle::Lifecycle`] for
//! each signer and [`filter_wasm::keys::RemoteKeys`] for each worker of each verifier, against
//! answers such as keyregistry-mock gives, and counts what arrives in each second. Randomness has
//! a fixed seed: the outcome is the same every time.

mod formulas;
mod plan;
mod registry;
mod scenarios;
mod signer;
mod simulation;
mod table;
mod tally;
#[cfg(test)]
mod tests;
mod verifier;

pub use plan::Fleet;
pub use tally::{Load, Method};

use scenarios::{Phase, Scenario};

/// What came of all scenarios. Its `Display` is a Markdown table.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which fleet.
    pub fleet: Fleet,
    /// What came of each scenario.
    pub outcomes: Vec<Outcome>,
}

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What befell the fleet.
    pub scenario: &'static str,
    /// Requests with a token that came to the verifiers, those of strangers left out.
    pub requests: u64,
    /// Those of them that were refused because no key was to be had.
    pub refused: u64,
    /// What arrived at the registry.
    pub rows: Vec<Row>,
}

/// What arrived at the registry in a phase of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which part of the scenario; empty is the whole.
    pub phase: &'static str,
    /// Which requests.
    pub method: Method,
    /// Requests a second on average, by the formula, where there is one.
    pub calculated_mean: Option<f64>,
    /// Requests in the busiest second, by the formula, where there is one.
    pub calculated_peak: Option<f64>,
    /// What the simulation counted.
    pub simulated: Load,
}

/// The report on 10,000 proxies with default settings. It takes minutes.
pub fn report() -> Report {
    report_of(Fleet::of(10_000))
}

/// The report on any fleet.
pub fn report_of(fleet: Fleet) -> Report {
    let outcomes = scenarios::all(fleet).into_iter().map(run).collect();
    Report { fleet, outcomes }
}

fn run(scenario: Scenario) -> Outcome {
    let tally = simulation::simulate(&scenario.plan);
    let row = |phase: Phase| Row {
        phase: phase.name,
        method: phase.method,
        calculated_mean: phase.mean,
        calculated_peak: phase.peak,
        simulated: tally.load(phase.method, &phase.seconds),
    };
    Outcome {
        scenario: scenario.name,
        requests: tally.requests,
        refused: tally.refused,
        rows: scenario.phases.into_iter().map(row).collect(),
    }
}
