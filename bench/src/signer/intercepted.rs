//! HTTPS inside tunnels that stay open, beside plain HTTP.

use super::lockstep::Lockstep;
use super::stage::Stage;
use crate::contest::{Contender, Contest};
use crate::goal::Demand::AtLeast;
use crate::goal::Goal;
use crate::report::Report;

/// The bytes of a request are sealed and opened twice each here: towards the client, and towards
/// the server.
pub(super) fn speed(stage: &Stage, rounds: usize, report: &mut Report) {
    let signers = [&stage.rsa, &stage.p256, &stage.ed25519].map(|key| stage.subject(Some(key)));
    let [mut rsa, mut p256, mut ed25519] = [0, 1, 2].map(|signer| {
        let plain = Lockstep::plain(&signers[signer], stage.plain_server());
        let intercepted = Lockstep::intercepted(&signers[signer], stage.tls_server());
        (plain, intercepted)
    });
    let contest = Contest::hold(
        "Signer, intercepted HTTPS, 32 requests at a time",
        rounds,
        vec![
            Contender::new("plain, RS256", || rsa.0.run()),
            Contender::new("intercepted, RS256", || rsa.1.run()),
            Contender::new("plain, ES256", || p256.0.run()),
            Contender::new("intercepted, ES256", || p256.1.run()),
            Contender::new("plain, EdDSA", || ed25519.0.run()),
            Contender::new("intercepted, EdDSA", || ed25519.1.run()),
        ],
    );
    for (intercepted, plain) in [
        ("intercepted, RS256", "plain, RS256"),
        ("intercepted, ES256", "plain, ES256"),
        ("intercepted, EdDSA", "plain, EdDSA"),
    ] {
        report.goals.push(Goal::ratio(
            format!("signer, {intercepted}: requests a second of CPU time, plain is 1"),
            AtLeast(0.8),
            contest.ratio(intercepted, plain),
        ));
    }
    report.contests.push(contest);
}
