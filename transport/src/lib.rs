//! What the native processes share about sockets and files: how many connections a process can
//! have, which of them gives way when there are too many, which files it can trust, and what PEM
//! holds.

pub mod connections;
pub mod descriptors;
pub mod files;
pub mod pem;
