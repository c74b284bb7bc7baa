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
//! let verified = VerifiedToken { token, was_known: false };
//! ```
//! nor can its signature be left out:
//! ```compile_fail
//! # use jwt_core::{nonce::NonceClaim, verify::CurrentToken};
//! # fn skip(token: CurrentToken) {
//! let verified = token.conclude(NonceClaim::Fresh);
//! # }
//! ```
//! not even that of a token that was proven before, whose key may be no more:
//! ```compile_fail
//! # use jwt_core::{nonce::NonceClaim, verify::ProvenToken};
//! # fn skip(token: ProvenToken) {
//! let verified = token.conclude(NonceClaim::Fresh);
//! # }
//! ```

use crate::key::{KeyName, PublicKey};
use crate::nonce::{Nonce, NonceClaim};
use crate::policy::{Policy, check_expiry};
use crate::refusal::{KeyProblem, Refusal};
use crate::registry_token::TokenKind;
use crate::signature::SignatureVerifier;
use crate::time::Timestamp;
use crate::token::Token;
use std::rc::Rc;

/// Well-formed, for us, and within its time. Its signature is still to be checked, with the key
/// that [`CurrentToken::key_wanted`] names.
#[derive(Debug)]
pub struct CurrentToken {
    token: Rc<Token>,
    /// The key with which its signature was found good before.
    proven_with: Option<Rc<PublicKey>>,
}

/// Signed by its issuer, and every demand on the claims is met. Its nonce is still to be claimed.
#[derive(Debug)]
pub struct AgreedToken {
    proven: ProvenToken,
    was_known: bool,
}

/// A token that has passed every check; there is no other way to make one.
#[derive(Debug)]
pub struct VerifiedToken {
    token: Rc<Token>,
    was_known: bool,
}

/// What stays true of an agreed token: that `key` made its signature and that its claims satisfy
/// the policy. The time, the key and the nonce have to be checked on each use.
#[derive(Clone, Debug)]
pub struct ProvenToken {
    token: Rc<Token>,
    key: Rc<PublicKey>,
}

impl CurrentToken {
    /// Takes the text of a token apart and checks what can be known without its key.
    pub fn check(compact: &str, policy: &Policy, now: Timestamp) -> Result<Self, Refusal> {
        let token = Token::parse_up_to(policy.max_token_size, compact)?;
        if token.kind() == TokenKind::Registry {
            return Err(Refusal::RegistryToken);
        }
        Self::of(token, policy, now)
    }

    /// Of whatever type the token is: the caller has looked.
    pub(crate) fn of(token: Token, policy: &Policy, now: Timestamp) -> Result<Self, Refusal> {
        policy.check_algorithm(token.algorithm())?;
        policy.check_registered(token.claims(), now)?;
        Ok(Self {
            token: Rc::new(token),
            proven_with: None,
        })
    }

    /// The key that has to check the signature.
    pub fn key_wanted(&self) -> &KeyName {
        self.token.key_name()
    }

    /// Checks the signature, then the demands on the claims. `key` is the one wanted; if it is
    /// the very one with which the token was proven before, both are known.
    pub fn check_signature(
        self,
        key: Rc<PublicKey>,
        verifier: &dyn SignatureVerifier,
        policy: &Policy,
    ) -> Result<AgreedToken, Refusal> {
        let Self { token, proven_with } = self;
        let was_known = proven_with.is_some_and(|known| Rc::ptr_eq(&known, &key));
        if !was_known {
            prove(&token, &key, verifier, policy)?;
        }
        Ok(AgreedToken {
            proven: ProvenToken { token, key },
            was_known,
        })
    }
}

fn prove(
    token: &Token,
    key: &PublicKey,
    verifier: &dyn SignatureVerifier,
    policy: &Policy,
) -> Result<(), Refusal> {
    let key = key.for_algorithm(token.algorithm());
    let key = key.ok_or(KeyProblem::Unusable)?;
    if !verifier.verify(
        token.algorithm(),
        key,
        token.signing_input(),
        token.signature(),
    ) {
        return Err(Refusal::Signature);
    }
    policy.check_claims(token)
}

impl ProvenToken {
    /// The whole text.
    pub fn compact(&self) -> &str {
        self.token.compact()
    }

    /// Checks again what can be known without the key. `policy` is the one of the first time.
    pub fn check(&self, policy: &Policy, now: Timestamp) -> Result<CurrentToken, Refusal> {
        policy.check_registered(self.token.claims(), now)?;
        Ok(CurrentToken {
            token: self.token.clone(),
            proven_with: Some(self.key.clone()),
        })
    }
}

impl AgreedToken {
    /// The nonce to claim.
    pub fn nonce(&self) -> Nonce<'_> {
        let token = &self.proven.token;
        Nonce {
            issuer: token.key_name().issuer(),
            token_id: &token.claims().token_id,
            expires: token.claims().expires,
        }
    }

    /// For remembering it; `None` if it was known already.
    pub fn newly_proven(&self) -> Option<&ProvenToken> {
        (!self.was_known).then_some(&self.proven)
    }

    /// Whether the nonce may still be claimed. A token that waited for its key may have expired
    /// since, and the store no longer remembers nonces of expired tokens.
    pub fn check_time(&self, now: Timestamp) -> Result<(), Refusal> {
        check_expiry(self.proven.token.claims(), now)
    }

    /// Concludes with the store's answer to a claim of [`AgreedToken::nonce`].
    pub fn conclude(self, claim: NonceClaim) -> Result<VerifiedToken, Refusal> {
        match claim {
            NonceClaim::Fresh => Ok(VerifiedToken {
                token: self.proven.token,
                was_known: self.was_known,
            }),
            NonceClaim::Replayed => Err(Refusal::Replayed),
            NonceClaim::Full => Err(Refusal::NonceStoreFull),
            NonceClaim::OverShare => Err(Refusal::NonceShare),
            NonceClaim::Unavailable => Err(Refusal::NonceStoreUnavailable),
        }
    }
}

impl VerifiedToken {
    /// `iss` and `kid` of the key that signed.
    pub fn key_name(&self) -> &KeyName {
        self.token.key_name()
    }

    /// The claims as the JSON text that was signed.
    pub fn payload(&self) -> &[u8] {
        self.token.payload()
    }

    /// Whether its signature was known to be good, and not checked again.
    pub fn was_known(&self) -> bool {
        self.was_known
    }
}
