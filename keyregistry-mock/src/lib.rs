//! A key registry that speaks the jwtproxy key registry protocol.
//!
//! It keeps its keys in SQLite, in a file or in memory, and answers the whole protocol: listing,
//! fetching, publishing, rotating and revoking. A test fills a [`Registry`], starts a [`Server`]
//! on port 0 and later asks it which requests came:
//!
//! ```
//! use keyregistry_mock::{KeyState, Options, Registry, Server, jwk::PublicJwk};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::in_memory()?;
//! let jwk = PublicJwk::parse(r#"{"kty": "RSA", "n": "AQAB", "e": "AQAB"}"#)?;
//! registry.publish("my-service", "key1", jwk, KeyState::Approved)?;
//!
//! let server = Server::start("127.0.0.1:0".parse()?, registry, Options::default()).await?;
//! println!("keys are served at {}", server.url());
//! assert_eq!(server.key_requests("my-service", "key1"), 0);
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```

pub mod clock;
mod error;
pub mod jwk;
pub mod publication;
pub mod seed;
mod server;
mod store;

pub use clock::Clock;
pub use error::{Error, Mistake, Unexpected};
pub use publication::{Approval, Bounds};
pub use server::{
    AdminServer, AdminToken, BasePath, Options, RecordedRequest, Server, TlsError, TlsIdentity,
};
pub use store::{Key, KeyState, Lookup, NamedKey, Origin, Registry, Source, StorageError};
