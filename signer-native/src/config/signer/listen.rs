//! `listen_addr`, `socket_permission` and `admin_addr`.

use super::super::address::{listen_address, on_all_addresses};
use crate::config::Listen;
use envoy::verifier::SocketAddress;
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

/// `admin_addr`: none by default.
pub(super) fn admin(section: &mut Section<'_>) -> Option<Option<SocketAddress>> {
    let field = section.field("admin_addr");
    match field.is_present() {
        true => field.required(listen_address).map(Some),
        false => Some(None),
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
