//! What Envoy's foreign function `verify_signature` is asked, and what its answer means. It checks
//! PKCS#1 v1.5 and ECDSA signatures with BoringSSL.

use jwt_core::algorithm::Algorithm;
use jwt_core::signature::ecdsa_in_der;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use std::borrow::Cow;

/// Its name.
pub const NAME: &str = "verify_signature";

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

/// The hash of an algorithm, as the function calls it; `None` if it does not have the algorithm.
pub fn hash_function(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Rs256 | Algorithm::Es256 => Some("sha256"),
        Algorithm::Rs384 | Algorithm::Es384 => Some("sha384"),
        Algorithm::Rs512 => Some("sha512"),
        Algorithm::Ps256 | Algorithm::Ps384 | Algorithm::Ps512 | Algorithm::EdDsa => None,
    }
}

/// The signature of a JWS as the function reads it; `None` for what cannot be one.
pub fn for_the_host(algorithm: Algorithm, signature: &[u8]) -> Option<Cow<'_, [u8]>> {
    match algorithm {
        Algorithm::Es256 | Algorithm::Es384 => ecdsa_in_der(algorithm, signature).map(Cow::Owned),
        _ => Some(Cow::Borrowed(signature)),
    }
}

/// The argument. A type that prost derives would have to own all of it, and this is on the way of
/// every request.
pub fn argument(hash_function: &str, public_key: &[u8], text: &[u8], signature: &[u8]) -> Vec<u8> {
    let fields = [
        (HASH_FUNCTION, hash_function.as_bytes()),
        (PUBLIC_KEY, public_key),
        (SIGNATURE, signature),
        (TEXT, text),
    ];
    let overhead = 2 * encoded_len_varint(u64::from(u32::MAX));
    let length = fields.iter().map(|(_, value)| value.len() + overhead).sum();
    let mut message = Vec::with_capacity(length);
    for (tag, value) in fields {
        encode_key(tag, WireType::LengthDelimited, &mut message);
        encode_varint(value.len() as u64, &mut message);
        message.extend_from_slice(value);
    }
    message
}

/// Whether an answer says that the signature is good.
pub fn is_good(answer: &[u8]) -> bool {
    VerifySignatureResult::decode(answer).is_ok_and(|answer| answer.result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_word_good_is_good() {
        assert!(is_good(&[8, 1]));
        for answer in [&[][..], &[8, 0], &[8], &[0], &[0xff; 9], b"\x12\x03bad"] {
            assert!(!is_good(answer), "{answer:?}");
        }
    }

    #[test]
    fn each_algorithm_of_the_host_has_the_hash_of_its_name() {
        for algorithm in Algorithm::ALL {
            let name = algorithm.name();
            let digits = name.strip_prefix("RS").or(name.strip_prefix("ES"));
            let expected = digits.map(|digits| format!("sha{digits}"));
            assert_eq!(hash_function(algorithm), expected.as_deref(), "{name}");
        }
    }
}
