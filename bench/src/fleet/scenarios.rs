//! What may befall a fleet, and what the formulas say of it.

use super::formulas;
use super::plan::{Approval, Fleet, Plan, StoredKeys, Stranger};
use super::tally::Method;
use std::ops::Range;

/// A plan, and what to look at in its outcome.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) plan: Plan,
    pub(super) phases: Vec<Phase>,
}

/// Some seconds of a scenario, and what the formulas say of them.
pub(super) struct Phase {
    pub(super) name: &'static str,
    pub(super) method: Method,
    pub(super) seconds: Range<usize>,
    /// Requests a second on average.
    pub(super) mean: Option<f64>,
    /// Requests in the busiest second.
    pub(super) peak: Option<f64>,
}

/// How long the proxies of a deployment take to start, and to stop, in seconds.
const DEPLOYMENT: f64 = 10.0;

/// When a fleet has settled after its start, in seconds.
const SETTLED: usize = 1200;

/// How long the registry is down, in seconds.
const OUTAGE: usize = 600;

pub(super) fn all(fleet: Fleet) -> Vec<Scenario> {
    vec![
        steady(fleet),
        deployment(fleet),
        first_start(fleet),
        rotation(fleet),
        outage(fleet),
        stranger(fleet),
    ]
}

/// A fleet of which nothing is in step.
fn quiet(fleet: Fleet, end: usize) -> Plan {
    Plan {
        fleet,
        start_within: formulas::fetch_period(&fleet),
        keys: StoredKeys::Published(0.0..fleet.rotate_every.as_secs_f64()),
        signs_already: true,
        approval: Approval::Automatic,
        down: 0.0..0.0,
        stranger: None,
        end: end as f64,
        stops: false,
    }
}

fn steady(fleet: Fleet) -> Scenario {
    let seconds = SETTLED..SETTLED + 1800;
    Scenario {
        name: "nothing happens",
        plan: quiet(fleet, seconds.end),
        phases: vec![
            Phase::even(Method::Get, seconds.clone(), formulas::steady_get(&fleet)),
            Phase::even(Method::Put, seconds, formulas::steady_put(&fleet)),
        ],
    }
}

fn deployment(fleet: Fleet) -> Scenario {
    let wave = |name, round: f64| {
        let centre = (round * formulas::fetch_period(&fleet)) as usize + 10;
        let seconds = centre - 100..centre + 100;
        let peak = formulas::refresh_wave(&fleet, DEPLOYMENT, round);
        Phase::peak(name, Method::Get, seconds, peak)
    };
    let peak = formulas::deployment_get(&fleet, DEPLOYMENT);
    Scenario {
        name: "all start within 10 s",
        plan: Plan {
            start_within: DEPLOYMENT,
            signs_already: false,
            ..quiet(fleet, 1200)
        },
        phases: vec![
            Phase::peak("the start", Method::Get, 0..60, peak),
            wave("first refresh", 1.0),
            wave("second refresh", 2.0),
        ],
    }
}

fn first_start(fleet: Fleet) -> Scenario {
    let peak = formulas::busiest(fleet.proxies as f64 / DEPLOYMENT, DEPLOYMENT);
    let polls = formulas::first_polls(&fleet, DEPLOYMENT);
    Scenario {
        name: "all start for the first time; nobody approves; all are stopped within 10 s",
        plan: Plan {
            start_within: DEPLOYMENT,
            keys: StoredKeys::None,
            approval: Approval::Never,
            stops: true,
            ..quiet(fleet, 600)
        },
        phases: vec![
            Phase::peak("the start", Method::Put, 0..60, peak),
            Phase::peak("the start", Method::Get, 0..60, polls),
            Phase {
                name: "the waiting",
                ..Phase::even(Method::Get, 60..580, formulas::polls(&fleet))
            },
            Phase::peak("the end", Method::Delete, 580..610, peak),
        ],
    }
}

fn rotation(fleet: Fleet) -> Scenario {
    let every = fleet.rotate_every.as_secs_f64();
    let wave = formulas::ROTATION_SPREAD * every;
    let seconds = SETTLED..SETTLED + wave as usize;
    // The first of them is due when the fleet has settled.
    let age = every - wave - SETTLED as f64;
    Scenario {
        name: "the keys of all were published within 10 s, and are rotated",
        plan: Plan {
            keys: StoredKeys::Published(age..age + DEPLOYMENT),
            ..quiet(fleet, seconds.end)
        },
        phases: vec![
            Phase::even(Method::Get, seconds.clone(), formulas::rotation_get(&fleet)),
            Phase::even(Method::Put, seconds, formulas::rotation_put(&fleet)),
        ],
    }
}

fn outage(fleet: Fleet) -> Scenario {
    let (down, back) = (SETTLED, SETTLED + OUTAGE);
    let rates: Vec<f64> = (0..OUTAGE)
        .map(|second| formulas::outage_get(&fleet, second as f64))
        .collect();
    let highest = rates.iter().copied().fold(0.0, f64::max);
    let last = rates.last().copied().unwrap_or_default();
    let refresh = (0.75 * fleet.lifetime()) as usize;
    Scenario {
        name: "the registry is down for 10 min, and back",
        plan: Plan {
            down: down as f64..back as f64,
            ..quiet(fleet, back + refresh + 200)
        },
        phases: vec![
            Phase {
                name: "down",
                method: Method::Get,
                seconds: down..back,
                mean: Some(rates.iter().sum::<f64>() / rates.len() as f64),
                peak: Some(formulas::busiest(highest, 60.0)),
            },
            Phase::peak(
                "the minute after",
                Method::Get,
                back..back + 60,
                formulas::busiest(last, 60.0),
            ),
            Phase::peak(
                "first refresh",
                Method::Get,
                back + refresh..back + refresh + 200,
                formulas::refresh_wave(&fleet, 60.0, 1.0),
            ),
        ],
    }
}

fn stranger(fleet: Fleet) -> Scenario {
    let (begin, end) = (SETTLED, SETTLED + 5);
    let burst = formulas::invented_burst(&fleet);
    let rate = formulas::invented(&fleet);
    Scenario {
        name: "a stranger sends every proxy 100 invented key ids a second",
        plan: Plan {
            stranger: Some(Stranger {
                active: begin as f64..end as f64,
                per_second: 100.0,
            }),
            ..quiet(fleet, end)
        },
        phases: vec![
            Phase::peak("first second", Method::Get, begin..begin + 1, burst),
            Phase {
                name: "from then on",
                ..Phase::even(Method::Get, begin + 1..end, rate)
            },
        ],
    }
}

impl Phase {
    /// Where requests come independently of each other.
    fn even(method: Method, seconds: Range<usize>, mean: f64) -> Self {
        Self {
            name: "",
            method,
            mean: Some(mean),
            peak: Some(formulas::busiest(mean, seconds.len() as f64)),
            seconds,
        }
    }

    /// Where the busiest second is what matters.
    fn peak(name: &'static str, method: Method, seconds: Range<usize>, peak: f64) -> Self {
        Self {
            name,
            method,
            seconds,
            mean: None,
            peak: Some(peak),
        }
    }
}
