//! Signing: the private key, and the token it puts on each request.

mod key;
mod request;

pub use key::{KeyError, SigningKey};
pub use request::{RequestSigner, SigningError, TokenClaims};
