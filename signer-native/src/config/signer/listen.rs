//! `listen_addr` and `socket_permission`.

use super::super::address::{listen_address, on_all_addresses};
use crate::config::Listen;
use jwt_core::config::reader::{self, Expected, Section};
use serde_json::Value;
use std::path::PathBuf;

pub(super) fn listen(section: &mut Section<'_>) -> Option<Listen> {
    let listen = section
        .field("listen_addr")
        .or(Listen::Tcp(on_all_addresses(8080)), address);
    let permission = section
        .field("socket_permission")
        .or(0o755, reader::integer(0..=0o7777));
    match (listen?, permission?) {
        (Listen::Unix { path, .. }, permission) => Some(Listen::Unix { path, permission }),
        (tcp, _) => Some(tcp),
    }
}

/// `host:port`, `:port` or `unix:/path`.
fn address(value: &Value) -> Result<Listen, Expected> {
    match value.as_str().and_then(|text| text.strip_prefix("unix:")) {
        Some("") => Err("a path after unix:".into()),
        Some(path) => Ok(Listen::Unix {
            path: PathBuf::from(&*shellexpand::tilde(path)),
            permission: 0,
        }),
        None => listen_address(value).map(Listen::Tcp),
    }
}
