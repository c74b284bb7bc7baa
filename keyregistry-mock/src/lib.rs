//! A key registry that speaks the jwtproxy key registry protocol.
//!
//! It keeps its keys in memory and answers the two reading calls of the protocol. A test fills a
//! [`Registry`], starts a [`Server`] on port 0 and later asks it which requests came:
//!
//! ```
//! use keyregistry_mock::{KeyState, Options, Registry, Server, jwk::PublicJwk};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new();
//! let jwk = PublicJwk::parse(r#"{"kty": "RSA", "n": "AQAB", "e": "AQAB"}"#)?;
//! registry.publish("my-service", "key1", jwk, KeyState::Approved);
//!
//! let server = Server::start("127.0.0.1:0".parse()?, registry, Options::default()).await?;
//! println!("keys are served at {}", server.url());
//! assert_eq!(server.key_requests("my-service", "key1"), 0);
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod error;
pub mod jwk;
pub mod seed;
mod server;
mod store;

pub use error::{Error, Mistake, Unexpected};
pub use server::{BasePath, Options, RecordedRequest, Server};
pub use store::{KeyState, Lookup, Registry};
