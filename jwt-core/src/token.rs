//! A token as it arrives: taken apart, typed, and not yet believed.

mod json;
pub mod limits;
mod members;
#[cfg(test)]
mod tests;

use crate::algorithm::Algorithm;
use crate::key::KeyName;
use crate::refusal::Refusal;
use crate::registry_token::TokenKind;
use crate::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use members::Header;

/// A well-formed compact JWS with the header and the claims every token must have. Nothing of it
/// is verified.
#[derive(Clone, Debug)]
pub struct Token {
    compact: String,
    /// Bytes of the text that the signature covers.
    signed: usize,
    signature: Vec<u8>,
    payload: Vec<u8>,
    algorithm: Algorithm,
    kind: TokenKind,
    key_name: KeyName,
    claims: Claims,
}

/// The registered claims (RFC 7519 §4.1), all required here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// One or more audiences.
    pub audiences: Vec<String>,
    /// `exp`.
    pub expires: Timestamp,
    /// `nbf`.
    pub not_before: Timestamp,
    /// `iat`.
    pub issued: Timestamp,
    /// `jti`.
    pub token_id: String,
}

impl Token {
    /// Takes a compact serialization (RFC 7515 §7.1) of at most [`limits::DEFAULT_MAX_SIZE`] bytes
    /// apart.
    pub fn parse(compact: &str) -> Result<Self, Refusal> {
        Self::parse_up_to(limits::DEFAULT_MAX_SIZE, compact)
    }

    /// The same with another bound. It is checked before anything is decoded.
    pub fn parse_up_to(max_size: usize, compact: &str) -> Result<Self, Refusal> {
        if compact.len() > max_size {
            return Err(Refusal::TooLarge);
        }
        let malformed = || Refusal::Malformed("expected three parts between dots");
        let (signing_input, signature) = compact.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or_else(malformed)?;
        if payload.contains('.') {
            return Err(malformed());
        }
        let Header {
            algorithm,
            key_id,
            kind,
        } = members::header(&decode(header)?)?;
        let payload = decode(payload)?;
        let (issuer, claims) = members::claims(&payload)?;
        Ok(Self {
            compact: compact.to_owned(),
            signed: signing_input.len(),
            signature: decode(signature)?,
            algorithm,
            kind,
            key_name: KeyName::new(issuer, key_id)?,
            claims,
            payload,
        })
    }

    /// The whole text.
    pub fn compact(&self) -> &str {
        &self.compact
    }

    /// What the signature covers (RFC 7515 §5.1).
    pub fn signing_input(&self) -> &[u8] {
        let text = self.compact.as_bytes();
        text.get(..self.signed).unwrap_or_default()
    }

    /// The signature, decoded.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The claims as the JSON text that was signed. All of it is readable: `serde_json` reads it as
    /// a map.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// `alg`.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What its `typ` says it is for.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// `iss` and `kid`: the key that is said to have signed.
    pub fn key_name(&self) -> &KeyName {
        &self.key_name
    }

    /// The registered claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

fn decode(segment: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|_| Refusal::Malformed("a part is not base64url without padding"))
}
