//! What no filter can do better: Envoy's `verify_signature` takes the key apart on every call, which
//! a filter of Envoy's own does once.

use crate::contest::median;
use crate::report::Report;
use crate::tokens::Key;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use std::time::Instant;

const MESSAGE: &[u8] = &[b'm'; 350];

const ROUNDS: usize = 9;

const CHECKS_A_ROUND: u32 = 2000;

/// Checks an RS256 signature with a key that is taken apart each time, and once. The library is a
/// relative of the one in Envoy.
pub(super) fn of_signatures(report: &mut Report) {
    let key = Key::rsa();
    let signature = key.sign(MESSAGE, &SystemRandom::new());
    let der = key.public_der();
    let unparsed = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &der);
    let parsed = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &der).expect("a public key");
    let (mut each_time, mut once) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        each_time.push(microseconds(|| {
            unparsed.verify(MESSAGE, &signature).is_ok()
        }));
        once.push(microseconds(|| {
            parsed.verify_sig(MESSAGE, &signature).is_ok()
        }));
    }
    for (what, mut times) in [("each time", each_time), ("once", once)] {
        times.sort_by(f64::total_cmp);
        report.figures.push((
            format!("an RS256 signature checked by aws-lc, its key taken apart {what}"),
            format!("{:.1} µs", median(&times)),
        ));
    }
}

fn microseconds(check: impl Fn() -> bool) -> f64 {
    let begun = Instant::now();
    assert!((0..CHECKS_A_ROUND).all(|_| check()), "a good signature");
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(CHECKS_A_ROUND)
}
