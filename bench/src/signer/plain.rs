//! Plain HTTP: speed, a second core, latency.

use super::raw;
use super::stage::Stage;
use crate::contest::{Contender, Contest};
use crate::goal::Demand::AtLeast;
use crate::goal::Goal;
use crate::load::Load;
use crate::process::all_cores;
use crate::report::Report;
use std::time::Duration;

/// Signing beside the bare signature, and beside the same proxy that passes everything unsigned
/// (`hosts: [{host: "*", action: pass}]`): all that differs there is the token.
pub(super) fn speed(stage: &Stage, rounds: usize, report: &mut Report) {
    let off = stage.subject(None);
    let rsa = stage.subject(Some(&stage.rsa));
    let p256 = stage.subject(Some(&stage.p256));
    let ed25519 = stage.subject(Some(&stage.ed25519));
    let contest = Contest::hold(
        "Signer, plain HTTP",
        rounds,
        vec![
            Contender::new("signing off", || stage.plain(&off)),
            Contender::new("RS256", || stage.plain(&rsa)),
            Contender::new("ES256", || stage.plain(&p256)),
            Contender::new("EdDSA", || stage.plain(&ed25519)),
            Contender::new("bare signature, RS256", || raw::sign(&stage.rsa)),
            Contender::new("bare signature, ES256", || raw::sign(&stage.p256)),
            Contender::new("bare signature, EdDSA", || raw::sign(&stage.ed25519)),
        ],
    );
    report.goals.push(Goal::ratio(
        "signer, RS256: requests a second of CPU time, bare signatures are 1",
        AtLeast(0.85),
        contest.ratio("RS256", "bare signature, RS256"),
    ));
    for algorithm in ["ES256", "EdDSA"] {
        report.goals.push(Goal::ratio(
            format!("signer, {algorithm}: requests a second of CPU time, signing off is 1"),
            AtLeast(0.85),
            contest.ratio(algorithm, "signing off"),
        ));
    }
    let cost = |name: &str| 1e6 / contest.median(name, |sample| sample.per_cpu_second);
    for (algorithm, bare) in [
        ("RS256", "bare signature, RS256"),
        ("ES256", "bare signature, ES256"),
        ("EdDSA", "bare signature, EdDSA"),
    ] {
        let (whole, off, bare) = (cost(algorithm), cost("signing off"), cost(bare));
        report.figures.push((
            format!("CPU time of a request signed with {algorithm}"),
            format!(
                "{whole:.0} µs: {bare:.0} the bare signature, {off:.0} the proxy without, {:.0} what else a token takes",
                whole - bare - off
            ),
        ));
    }
    report.contests.push(contest);
}

/// A second core, with RS256, whose signature dwarfs the rest.
///
/// On a machine of two cores the second one has the load and the server on it as well: what they
/// take, which the report shows as cores that are not busy, is lost to the signer.
pub(super) fn two_cores(stage: &Stage, rounds: usize, report: &mut Report) {
    const ONE: &str = "one core";
    const TWO: &str = "two cores, shared with the load";
    let one = stage.subject(Some(&stage.rsa));
    let two = stage.signer(&all_cores(), Some(&stage.rsa));
    let contest = Contest::hold(
        "Signer, a second core, RS256",
        rounds,
        vec![
            Contender::new(ONE, || stage.plain(&one)),
            Contender::new(TWO, || stage.plain(&two)),
        ],
    );
    report.goals.push(Goal::ratio(
        "signer, RS256: requests a second on two cores, which it shares with the load, one is 1",
        AtLeast(1.8),
        contest.ratio_of(TWO, ONE, |sample| sample.per_second),
    ));
    let cost = contest.ratio(ONE, TWO);
    report.figures.push((
        "signer, RS256: CPU time of a request on two cores, on one it is 1".into(),
        format!("{:.2}", cost.median),
    ));
    report.contests.push(contest);
}

/// Latency while each has half of what the signer can do with ES256.
pub(super) fn latency(stage: &Stage, rounds: usize, report: &mut Report) {
    let off = stage.subject(None);
    let p256 = stage.subject(Some(&stage.p256));
    stage.plain(&p256);
    let full = stage.plain(&p256);
    let half = |load: Load| Load {
        pause: Some(Duration::from_secs_f64(
            load.connections as f64 / (full.per_second / 2.0),
        )),
        ..load
    };
    let contest = Contest::hold(
        "Signer, half load, ES256",
        rounds,
        vec![
            // The CPU time is that of the server.
            Contender::new("no signer", || {
                half(Load::on(stage.plain_server())).run(stage.server_process())
            }),
            Contender::new("signing off", || {
                half(stage.plain_load(&off)).run(off.process())
            }),
            Contender::new("ES256", || {
                half(stage.plain_load(&p256)).run(p256.process())
            }),
        ],
    );
    let p99 = |name| contest.median(name, |sample| sample.p99_us);
    report.figures.push((
        "p99 latency that the signer adds at half load, ES256".into(),
        format!(
            "{:.0} µs, {:.0} of them without signing",
            p99("ES256") - p99("no signer"),
            p99("signing off") - p99("no signer")
        ),
    ));
    report.contests.push(contest);
}
