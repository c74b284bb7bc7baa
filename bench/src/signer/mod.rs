//! The signer beside bare signatures, beside itself without them, and beside no signer at all.

mod authority;
mod client;
mod intercepted;
mod lockstep;
mod memory;
mod new_host;
mod peer;
mod plain;
mod raw;
mod stage;
mod start;
mod witness;

use crate::report::Report;
use stage::Stage;

/// Measures everything about the signer.
pub fn measure(rounds: usize, report: &mut Report) {
    let stage = Stage::set();
    plain::speed(&stage, rounds, report);
    plain::two_cores(&stage, rounds, report);
    intercepted::speed(&stage, rounds, report);
    new_host::time(&stage, report);
    plain::latency(&stage, rounds, report);
    start::time(&stage, report);
    memory::resident(&stage, report);
}
