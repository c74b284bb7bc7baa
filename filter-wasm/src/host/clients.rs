//! [`Clients`] as the host knows them.

use crate::keys::Clients;
use proxy_wasm::hostcalls;

pub(super) struct HostClients;

impl Clients for HostClients {
    /// Envoy's `source.address`: the peer, or whom a trusted proxy in front names as the client,
    /// where Envoy is configured to trust one.
    fn address(&self) -> Option<Vec<u8>> {
        hostcalls::get_property(vec!["source", "address"])
            .ok()
            .flatten()
    }
}
