//! A key registry that speaks the jwtproxy key registry protocol.
