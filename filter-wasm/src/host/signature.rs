//! Signatures checked by the host, which is about twenty times as fast as doing it in the VM.

use crate::events::{Events, count_one};
use crate::verify_signature;
use jwt_core::algorithm::Algorithm;
use jwt_core::key::PublicKey;
use jwt_core::signature::{PureRust, SignatureVerifier};
use log::{debug, warn};
use proxy_wasm::hostcalls;
use std::rc::Rc;

/// The host, where it has shown that it can tell a good signature from a bad one; else pure Rust.
pub(super) fn best_verifier(events: Rc<Events>) -> Box<dyn SignatureVerifier> {
    let vm = VmVerifier {
        events: events.clone(),
    };
    if host_knows_the_answers() {
        debug!("jwtproxy: signatures are checked by the host");
        Box::new(HostVerifier { events, vm })
    } else {
        warn!("jwtproxy: signatures are checked in the VM, which is slow: the host cannot do it");
        Box::new(vm)
    }
}

/// Pure Rust, counted.
struct VmVerifier {
    events: Rc<Events>,
}

impl SignatureVerifier for VmVerifier {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        count_one(&self.events.vm_signatures);
        PureRust.verify(algorithm, key, message, signature)
    }
}

struct HostVerifier {
    events: Rc<Events>,
    /// For the algorithms that the host does not have.
    vm: VmVerifier,
}

impl SignatureVerifier for HostVerifier {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let Some(hash_function) = verify_signature::hash_function(algorithm) else {
            return self.vm.verify(algorithm, key, message, signature);
        };
        count_one(&self.events.host_signatures);
        verify_signature::for_the_host(algorithm, signature)
            .is_some_and(|signature| ask_host(hash_function, key.spki(), message, &signature))
    }
}

fn ask_host(hash_function: &str, public_key: &[u8], text: &[u8], signature: &[u8]) -> bool {
    let argument = verify_signature::argument(hash_function, public_key, text, signature);
    let answer = hostcalls::call_foreign_function(verify_signature::NAME, Some(&argument));
    answer.is_ok_and(|answer| answer.is_some_and(|answer| verify_signature::is_good(&answer)))
}

/// Before the host is trusted with signatures it has to call good ones good and bad ones bad, of
/// both kinds.
fn host_knows_the_answers() -> bool {
    const RSA_KEY: &[u8] = include_bytes!("known_answer/rsa.der");
    const RSA_SIGNATURE: &[u8] = include_bytes!("known_answer/rsa.signature");
    const EC_KEY: &[u8] = include_bytes!("known_answer/ec.der");
    const EC_SIGNATURE: &[u8] = include_bytes!("known_answer/ec.signature");
    const TEXT: &[u8] = b"jwtproxy known-answer test";
    const OTHER_TEXT: &[u8] = b"jwtproxy known-answer tesT";
    [(RSA_KEY, RSA_SIGNATURE), (EC_KEY, EC_SIGNATURE)]
        .into_iter()
        .all(|(key, signature)| {
            let says = |text| ask_host("sha256", key, text, signature);
            says(TEXT) && !says(OTHER_TEXT)
        })
}
