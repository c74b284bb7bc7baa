//! What the verifier keeps in memory.

use super::filters::{Nonces, filter};
use super::stage::Stage;
use crate::contest::Ratio;
use crate::envoy_peer::EnvoyPeer;
use crate::goal::Demand::AtMost;
use crate::goal::Goal;
use crate::load::Load;
use crate::process::subject_core;
use crate::report::Report;
use crate::tokens::Key;
use serde_json::Value;
use std::fs;

/// Resident memory is a rough figure.
const REPETITIONS: usize = 3;

/// Fills the store of the stage's costly case.
pub(super) fn of_nonces(stage: &Stage, live: usize, report: &mut Report) {
    eprintln!("filling the store of nonces");
    let bytes = stage.fill();
    let goal = Goal::figure(
        format!("memory of a live nonce, {live} of them"),
        AtMost(16.0),
        bytes,
        " bytes",
    );
    report.goals.push(goal);
}

/// What the filter's machine takes on each worker: four workers beside one, with it and without.
pub(super) fn of_workers(report: &mut Report) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let module = folder.path().join("filter.wasm");
    fs::write(&module, envoy::FILTER_WASM).expect("a file");
    let key = Key::rsa();
    let each_worker = |chain: &Vec<Value>| {
        let [one, four] = [1, 4].map(|workers| {
            let envoy = EnvoyPeer::start(
                folder.path(),
                subject_core(),
                workers,
                std::slice::from_ref(chain),
            );
            for turn in 0..3 {
                let token = key.token(&format!("{turn:032}"));
                Load::on(envoy.listener(0))
                    .with_token(&token)
                    .run(envoy.process());
            }
            envoy.process().resident_memory() as f64 / f64::from(1 << 20)
        });
        (four - one) / 3.0
    };
    let with_filter = filter(&module, &key, Nonces::Void);
    let grown = (0..REPETITIONS).map(|_| each_worker(&with_filter) - each_worker(&vec![]));
    report.goals.push(Goal::ratio(
        "resident memory of the filter, a worker, without nonces, in MiB",
        AtMost(8.0),
        Ratio::of(grown),
    ));
}
