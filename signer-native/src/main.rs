//! The command `jwtproxy`.
fn main() {}
