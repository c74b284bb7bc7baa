//! The steps of verification as types: each can only be made by the step before it, so leaving
//! one out does not compile.
//!
//! The order is the contract's. The nonce comes last of all: were it claimed before the
//! signature is checked, anybody could burn the nonce of somebody else's token with a forgery.
//!
//! A token cannot be called verified by hand:
//! ```compile_fail
//! # use jwt_core::{token::Token, verify::VerifiedToken};
//! let token = Token::parse("a.b.c").unwrap();
//! let verified = VerifiedToken(token);
//! ```
//! nor can its signature be left out:
//! ```compile_fail
//! # use jwt_core::{nonce::NonceClaim, verify::CurrentToken};
//! # fn skip(token: CurrentToken) {
//! let verified = token.conclude(NonceClaim::Fresh);
//! # }
//! ```

use crate::key::{KeyName, PublicKey};
use crate::nonce::{Nonce, NonceClaim};
use crate::policy::{Policy, check_expiry};
use crate::refusal::{KeyProblem, Refusal};
use crate::signature::SignatureVerifier;
use crate::time::Timestamp;
use crate::token::Token;

/// Well-formed, for us, and within its time. Its signature is still to be checked, with the key
/// that [`CurrentToken::key_wanted`] names.
#[derive(Debug)]
pub struct CurrentToken(Token);

/// Signed by its issuer, and every demand on the claims is met. Its nonce is still to be claimed.
#[derive(Debug)]
pub struct AgreedToken(Token);

/// A token that has passed every check; there is no other way to make one.
#[derive(Debug)]
pub struct VerifiedToken(Token);

impl CurrentToken {
    /// Takes the text of a token apart and checks what can be known without its key.
    pub fn check(compact: &str, policy: &Policy, now: Timestamp) -> Result<Self, Refusal> {
        let token = Token::parse(compact)?;
        policy.check_registered(token.claims(), now)?;
        Ok(Self(token))
    }

    /// The key that has to check the signature.
    pub fn key_wanted(&self) -> &KeyName {
        self.0.key_name()
    }

    /// Checks the signature, then the demands on the claims. `key` is the one wanted.
    pub fn check_signature(
        self,
        key: &PublicKey,
        verifier: &dyn SignatureVerifier,
        policy: &Policy,
    ) -> Result<AgreedToken, Refusal> {
        let Self(token) = self;
        if !key.permits(token.algorithm()) {
            return Err(KeyProblem::Unusable.into());
        }
        if !verifier.verify(
            token.algorithm(),
            key,
            token.signing_input(),
            token.signature(),
        ) {
            return Err(Refusal::Signature);
        }
        policy.check_claims(&token)?;
        Ok(AgreedToken(token))
    }
}

impl AgreedToken {
    /// The nonce to claim.
    pub fn nonce(&self) -> Nonce<'_> {
        Nonce {
            issuer: self.0.key_name().issuer(),
            token_id: &self.0.claims().token_id,
            expires: self.0.claims().expires,
        }
    }

    /// Whether the nonce may still be claimed. A token that waited for its key may have expired
    /// since, and the store no longer remembers nonces of expired tokens.
    pub fn check_time(&self, now: Timestamp) -> Result<(), Refusal> {
        check_expiry(self.0.claims(), now)
    }

    /// Concludes with the store's answer to a claim of [`AgreedToken::nonce`].
    pub fn conclude(self, claim: NonceClaim) -> Result<VerifiedToken, Refusal> {
        match claim {
            NonceClaim::Fresh => Ok(VerifiedToken(self.0)),
            NonceClaim::Replayed => Err(Refusal::Replayed),
            NonceClaim::Full => Err(Refusal::NonceStoreFull),
            NonceClaim::Unavailable => Err(Refusal::NonceStoreUnavailable),
        }
    }
}

impl VerifiedToken {
    /// `iss` and `kid` of the key that signed.
    pub fn key_name(&self) -> &KeyName {
        self.0.key_name()
    }

    /// The claims as the JSON text that was signed.
    pub fn payload(&self) -> &[u8] {
        self.0.payload()
    }
}
