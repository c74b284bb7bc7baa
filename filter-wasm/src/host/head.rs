//! The header section of the request that is the host's effective context.

use crate::request::RequestHead;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MapType;

pub(super) struct HostHead;

impl RequestHead for HostHead {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name)
            .ok()
            .flatten()
    }

    fn get_all(&self, name: &str) -> Vec<Vec<u8>> {
        fields()
            .into_iter()
            .filter(|(own, _)| own == name)
            .map(|(_, value)| value)
            .collect()
    }

    fn names(&self) -> Vec<String> {
        fields().into_iter().map(|(name, _)| name).collect()
    }
}

fn fields() -> Vec<(String, Vec<u8>)> {
    hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default()
}
