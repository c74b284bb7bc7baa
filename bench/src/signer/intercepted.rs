//! HTTPS inside tunnels that stay open, beside plain HTTP.

use super::peer::Signer;
use super::socat::Socat;
use super::stage::Stage;
use crate::contest::{Contender, Contest};
use crate::goal::Demand::AtLeast;
use crate::goal::Goal;
use crate::load::{Load, Sample};
use crate::report::Report;

/// The bytes of a request are sealed and opened twice each here: towards the client, and towards
/// the server.
pub(super) fn speed(stage: &Stage, rounds: usize, report: &mut Report) {
    let rsa = Intercepting::new(stage, stage.subject(Some(&stage.rsa)));
    let p256 = Intercepting::new(stage, stage.subject(Some(&stage.p256)));
    let ed25519 = Intercepting::new(stage, stage.subject(Some(&stage.ed25519)));
    let contest = Contest::hold(
        "Signer, intercepted HTTPS",
        rounds,
        vec![
            Contender::new("plain, RS256", || stage.plain(&rsa.signer)),
            Contender::new("intercepted, RS256", || rsa.run(stage)),
            Contender::new("plain, ES256", || stage.plain(&p256.signer)),
            Contender::new("intercepted, ES256", || p256.run(stage)),
            Contender::new("plain, EdDSA", || stage.plain(&ed25519.signer)),
            Contender::new("intercepted, EdDSA", || ed25519.run(stage)),
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

/// A signer and what opens tunnels through it.
struct Intercepting {
    signer: Signer,
    tunnels: Socat,
}

impl Intercepting {
    fn new(stage: &Stage, signer: Signer) -> Self {
        let tunnels = Socat::start(signer.address(), stage.tls_server());
        Self { signer, tunnels }
    }

    /// The handshakes are part of it, 32 for the thousands of requests of a second.
    fn run(&self, stage: &Stage) -> Sample {
        let load = Load {
            url: format!("https://{}", self.tunnels.address()),
            headers: vec![("Host", stage.tls_server().to_string())],
            ..Load::on(self.tunnels.address())
        };
        load.run(self.signer.process())
    }
}
