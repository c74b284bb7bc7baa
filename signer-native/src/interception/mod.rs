//! Standing in for the servers that clients ask for: an authority that clients trust, and the
//! certificates it issues, one a host.

mod authority;
mod cache;
mod leaf;
mod turns;
mod weaknesses;

pub use authority::{Authority, AuthorityError};
pub use cache::{CacheCounters, Interceptor};
pub use leaf::LeafError;
