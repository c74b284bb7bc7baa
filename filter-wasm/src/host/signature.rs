//! Signatures checked by the host, which is about twenty times as fast as doing it in the VM.

use crate::events::{Events, count_one};
use jwt_core::algorithm::Algorithm;
use jwt_core::key::PublicKey;
use jwt_core::signature::{PureRust, SignatureVerifier, ecdsa_in_der};
use log::{debug, warn};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use proxy_wasm::hostcalls;
use std::borrow::Cow;
use std::rc::Rc;

/// Envoy's foreign function, which checks PKCS#1 v1.5 and ECDSA signatures with BoringSSL.
const FUNCTION: &str = "verify_signature";

/// The fields of its argument (Envoy: `source/extensions/common/wasm/ext/verify_signature.proto`);
/// the key is a SubjectPublicKeyInfo, DER.
const HASH_FUNCTION: u32 = 1;
const PUBLIC_KEY: u32 = 2;
const SIGNATURE: u32 = 3;
const TEXT: u32 = 4;

/// Its result.
#[derive(Clone, PartialEq, Message)]
struct VerifySignatureResult {
    #[prost(bool, tag = "1")]
    result: bool,
    #[prost(string, tag = "2")]
    error: String,
}

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
        let hash_function = match algorithm {
            Algorithm::Rs256 | Algorithm::Es256 => "sha256",
            Algorithm::Rs384 | Algorithm::Es384 => "sha384",
            Algorithm::Rs512 => "sha512",
            Algorithm::Ps256 | Algorithm::Ps384 | Algorithm::Ps512 | Algorithm::EdDsa => {
                return self.vm.verify(algorithm, key, message, signature);
            }
        };
        count_one(&self.events.host_signatures);
        let in_der = match algorithm {
            Algorithm::Es256 | Algorithm::Es384 => {
                ecdsa_in_der(algorithm, signature).map(Cow::Owned)
            }
            _ => Some(Cow::Borrowed(signature)),
        };
        in_der.is_some_and(|signature| ask_host(hash_function, key.spki(), message, &signature))
    }
}

fn ask_host(hash_function: &str, public_key: &[u8], text: &[u8], signature: &[u8]) -> bool {
    let fields = [
        (HASH_FUNCTION, hash_function.as_bytes()),
        (PUBLIC_KEY, public_key),
        (SIGNATURE, signature),
        (TEXT, text),
    ];
    let answer = hostcalls::call_foreign_function(FUNCTION, Some(&message(&fields)));
    let Ok(Some(answer)) = answer else {
        return false;
    };
    VerifySignatureResult::decode(&*answer).is_ok_and(|answer| answer.result)
}

/// A protobuf message of these fields. A type that prost derives would have to own them all, and
/// this is on the way of every request.
fn message(fields: &[(u32, &[u8])]) -> Vec<u8> {
    let overhead = 2 * encoded_len_varint(u64::from(u32::MAX));
    let length = fields.iter().map(|(_, value)| value.len() + overhead).sum();
    let mut message = Vec::with_capacity(length);
    for (tag, value) in fields {
        encode_key(*tag, WireType::LengthDelimited, &mut message);
        encode_varint(value.len() as u64, &mut message);
        message.extend_from_slice(value);
    }
    message
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
