//! The verifier beside an Envoy without it and beside Envoy's own jwt_authn.

mod compare;
mod filters;
mod limits;
mod memory;
mod stage;
mod supply;

use crate::contest::{Contender, Contest};
use crate::goal::Demand::{AtLeast, AtMost};
use crate::goal::Goal;
use crate::load::Load;
use crate::report::Report;
pub use compare::compare;
use stage::{Stage, TwoWorkers};
use std::time::Duration;

/// Measures everything about the verifier.
pub fn measure(rounds: usize, live_nonces: usize, report: &mut Report) {
    report.goals.push(Goal::figure(
        "the filter's module",
        AtMost(600.0),
        envoy::FILTER_WASM.len() as f64 / 1024.0,
        " KiB",
    ));
    limits::of_signatures(report);
    let stage = Stage::set(rounds, live_nonces);
    memory::of_nonces(&stage, live_nonces, report);
    let capacity = unique_tokens(&stage, live_nonces, rounds, report);
    same_token(&stage, rounds, report);
    refusals(&stage, rounds, report);
    latency(&stage, capacity, rounds, report);
    two_workers(&stage, rounds, report);
    drop(stage);
    memory::of_workers(report);
}

/// The requests a second that the filter can bear at most.
fn unique_tokens(stage: &Stage, live: usize, rounds: usize, report: &mut Report) -> f64 {
    let contest = Contest::hold(
        "Every request with a token of its own",
        rounds,
        vec![
            Contender::new("no filter", || stage.without_filter()),
            Contender::new("jwt_authn, RS256", || stage.jwt_authn_rsa()),
            Contender::new("jwtproxy, RS256, void nonces", || stage.void_rsa()),
            Contender::new("jwtproxy, RS256, few nonces", || stage.few_nonces_rsa()),
            Contender::new("jwtproxy, RS256, many nonces", || stage.loaded_rsa()),
            Contender::new("jwt_authn, ES256", || stage.jwt_authn_p256()),
            Contender::new("jwtproxy, ES256, many nonces", || stage.loaded_p256()),
        ],
    );
    report.goals.extend([
        Goal::ratio(
            format!("RS256, unique tokens, {live} live nonces: speed, jwt_authn is 1"),
            AtLeast(1.15),
            contest.ratio("jwtproxy, RS256, many nonces", "jwt_authn, RS256"),
        ),
        Goal::ratio(
            "ES256, the same",
            AtLeast(1.0),
            contest.ratio("jwtproxy, ES256, many nonces", "jwt_authn, ES256"),
        ),
        Goal::ratio(
            format!("cost of a request at {live} live nonces, at few it is 1"),
            AtMost(1.1),
            contest.ratio(
                "jwtproxy, RS256, few nonces",
                "jwtproxy, RS256, many nonces",
            ),
        ),
    ]);
    let capacity = contest.median("jwtproxy, RS256, many nonces", |s| s.per_cpu_second);
    report.contests.push(contest);
    capacity
}

fn same_token(stage: &Stage, rounds: usize, report: &mut Report) {
    let contest = Contest::hold(
        "The same token again, RS256",
        rounds,
        vec![
            Contender::new("no filter", || stage.without_filter_again()),
            Contender::new("a wasm filter that does nothing", || {
                stage.idle_wasm_again()
            }),
            Contender::new("jwt_authn with its cache", || stage.jwt_authn_again()),
            Contender::new("jwtproxy, void nonces", || stage.void_again()),
        ],
    );
    report.goals.push(Goal::ratio(
        "the same token again, void nonces: speed, jwt_authn with its cache is 1",
        AtLeast(1.0),
        contest.ratio("jwtproxy, void nonces", "jwt_authn with its cache"),
    ));
    report.contests.push(contest);
}

fn refusals(stage: &Stage, rounds: usize, report: &mut Report) {
    const REFUSED: [&str; 3] = ["no token", "bad signature", "replay"];
    let used = stage.use_for_replays();
    let contest = Contest::hold(
        "Refusals, RS256, many nonces",
        rounds,
        vec![
            Contender::new("accepted", || stage.loaded_rsa()),
            Contender::new(REFUSED[0], || stage.no_token()),
            Contender::new(REFUSED[1], || stage.bad_signature()),
            Contender::new(REFUSED[2], || stage.replay(used)),
        ],
    );
    for refused in REFUSED {
        report.goals.push(Goal::ratio(
            format!("cost of a refused request ({refused}), an accepted one is 1"),
            AtMost(1.0),
            contest.ratio("accepted", refused),
        ));
    }
    report.contests.push(contest);
}

/// What a second worker costs: locks, and caches that are fought over.
fn two_workers(stage: &Stage, rounds: usize, report: &mut Report) {
    let run = |contender| move || stage.two_workers(contender);
    report.contests.push(Contest::hold(
        "Two workers, which share both cores with the load, RS256",
        rounds,
        vec![
            Contender::new("no filter", run(TwoWorkers::Plain)),
            Contender::new("jwt_authn", run(TwoWorkers::JwtAuthn)),
            Contender::new("jwtproxy, few nonces", run(TwoWorkers::Filter)),
        ],
    ));
}

/// Latency while each contender has half of what the filter can bear.
fn latency(stage: &Stage, capacity: f64, rounds: usize, report: &mut Report) {
    let load = |load: Load| Load {
        pause: Some(Duration::from_secs_f64(
            load.connections as f64 / (capacity / 2.0),
        )),
        ..load
    };
    let contest = Contest::hold(
        "Half load, RS256",
        rounds,
        vec![
            Contender::new("no filter", || stage.without_filter_under(load)),
            Contender::new("jwt_authn", || stage.jwt_authn_under(load)),
            Contender::new("jwtproxy, many nonces", || stage.loaded_under(load)),
        ],
    );
    let p99 = |name| contest.median(name, |sample| sample.p99_us);
    let added = p99("jwtproxy, many nonces") - p99("no filter");
    let figure = (
        "p99 latency that the filter adds at half load".to_owned(),
        format!("{added:.0} µs"),
    );
    report.figures.push(figure);
    report.contests.push(contest);
}
