//! jwtproxy: the signing forward proxy and the command that runs it all.

pub mod admin;
mod clock;
pub mod command_line;
pub mod config;
pub mod interception;
pub mod keys;
pub mod policy;
pub mod proxy;
pub mod run;
pub mod signing;
mod socket_file;
