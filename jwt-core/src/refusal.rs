//! Why a request was not let through.

use thiserror::Error;

/// The one reason a token, and with it a request, is refused.
///
/// The text is shown to the client: it helps whoever runs the client and tells an attacker
/// nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The request carries no token.
    #[error("no token: expected an Authorization header of the form \"Bearer <JWT>\"")]
    MissingToken,
    /// The request carries two tokens, and which of them counts is nothing to guess about.
    #[error("the request carries more than one token")]
    SeveralTokens,
    /// Longer than the verifier permits.
    #[error("the token is larger than the verifier permits (max_token_size)")]
    TooLarge,
    /// Not a compact JWS with JSON header and claims (RFC 7519 §7.2).
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// A header parameter or claim that must be there is not.
    #[error("the token has no \"{0}\"")]
    Missing(&'static str),
    /// A header parameter or claim has the wrong JSON type or is out of range.
    #[error("\"{name}\" of the token is not {expected}")]
    WrongType {
        /// The header parameter or claim.
        name: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// `alg` is none of ours (RFC 8725 §3.1).
    #[error("the token's \"alg\" is not accepted")]
    Algorithm,
    /// The token asks for an extension we do not know (RFC 7515 §4.1.11).
    #[error("the token has a critical header parameter that is not understood")]
    Critical,
    /// RFC 8725 §3.11: a token of one kind is not one of another.
    #[error("the token is for a key registry, not for a request")]
    RegistryToken,
    /// RFC 7519 §4.1.3.
    #[error("the token is for another audience")]
    Audience,
    /// RFC 7519 §4.1.4.
    #[error("the token has expired")]
    Expired,
    /// RFC 7519 §4.1.5.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// RFC 7519 §4.1.6; beyond the permitted clock skew.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// Issued before this verifier started: it may have been used with the one before.
    #[error("the token was issued before the verifier started")]
    IssuedBeforeStart,
    /// `exp` − `iat` is more than the verifier permits.
    #[error("the token's lifetime is longer than permitted")]
    LifetimeTooLong,
    /// The key could not be had.
    #[error(transparent)]
    Key(#[from] KeyProblem),
    /// RFC 7515 §5.2.
    #[error("the signature does not match")]
    Signature,
    /// A claims verifier disagrees.
    #[error("the claims do not satisfy the verifier")]
    Claims,
    /// The nonce (`iss`, `jti`) has been used before.
    #[error("the token has been used before")]
    Replayed,
    /// Every place for requests that wait for a key is taken, or all that one key may take.
    #[error("too many requests wait for a signing key")]
    TooManyWaiting,
    /// The nonce store has no room: letting the request in would forget another nonce.
    #[error("too many tokens are in use at once")]
    NonceStoreFull,
    /// The issuer has more than its share of the nonce store, which others need too.
    #[error("too many tokens of this issuer are in use at once")]
    NonceShare,
    /// The nonce store did not answer.
    #[error("replay protection is not available")]
    NonceStoreUnavailable,
}

/// Why there is no key to check a signature with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyProblem {
    /// The key server does not know the key.
    #[error("the signing key is unknown")]
    Unknown,
    /// Published, and nobody has approved it yet.
    #[error("the signing key awaits approval")]
    AwaitsApproval,
    /// Was approved once.
    #[error("the signing key has expired or was revoked")]
    Expired,
    /// The key server gave a key that must not be used for this token.
    #[error("the signing key is not usable for this token")]
    Unusable,
    /// The key server could not be asked: not the client's fault.
    #[error("the key server cannot be asked")]
    Unavailable,
}

impl Refusal {
    /// Whether the fault is the verifier's and trying again later may help (HTTP 503), rather
    /// than the token's (HTTP 403).
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Key(KeyProblem::Unavailable)
                | Self::TooManyWaiting
                | Self::NonceStoreFull
                | Self::NonceShare
                | Self::NonceStoreUnavailable
        )
    }

    /// The reason as one word of [`LABELS`], for metrics and access logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::SeveralTokens => "several_tokens",
            Self::TooLarge => "too_large",
            Self::Malformed(_) | Self::Missing(_) | Self::WrongType { .. } => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical_header",
            Self::RegistryToken => "registry_token",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::IssuedBeforeStart => "issued_before_start",
            Self::LifetimeTooLong => "lifetime",
            Self::Key(KeyProblem::Unknown) => "key_unknown",
            Self::Key(KeyProblem::AwaitsApproval) => "key_awaits_approval",
            Self::Key(KeyProblem::Expired) => "key_expired",
            Self::Key(KeyProblem::Unusable) => "key_unusable",
            Self::Key(KeyProblem::Unavailable) => "key_server_unavailable",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Replayed => "replayed",
            Self::TooManyWaiting => "too_many_waiting",
            Self::NonceStoreFull => "nonce_store_full",
            Self::NonceShare => "nonce_share",
            Self::NonceStoreUnavailable => "nonce_store_unavailable",
        }
    }
}

/// Every value of [`Refusal::label`].
pub const LABELS: [&str; 25] = [
    "missing_token",
    "several_tokens",
    "too_large",
    "malformed",
    "algorithm",
    "critical_header",
    "registry_token",
    "audience",
    "expired",
    "not_yet_valid",
    "issued_in_future",
    "issued_before_start",
    "lifetime",
    "key_unknown",
    "key_awaits_approval",
    "key_expired",
    "key_unusable",
    "key_server_unavailable",
    "signature",
    "claims",
    "replayed",
    "too_many_waiting",
    "nonce_store_full",
    "nonce_share",
    "nonce_store_unavailable",
];
