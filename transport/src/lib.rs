//! What the native processes share about sockets and files: how many connections a process can
//! have, which of them gives way when there are too many, and which files it can trust.

pub mod connections;
pub mod descriptors;
pub mod files;
