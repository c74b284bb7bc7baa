//! What the native processes share about sockets: how many a process can have, and which
//! connection gives way when there are too many.

pub mod connections;
pub mod descriptors;
