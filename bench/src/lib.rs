//! What jwtproxy costs: measured, and calculated.

#![expect(
    clippy::expect_used,
    reason = "a tool: what cannot be set up ends it with its reason"
)]

pub mod fleet;
