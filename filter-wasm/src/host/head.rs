//! The header section of the request that is the host's effective context.

use crate::request::{self, RequestHead};
use proxy_wasm::hostcalls;
use proxy_wasm::types::MapType;

/// How much of a body the host reads while the request waits, at most. It is what `jwtproxy`
/// configures.
const HELD_BODY: usize = 32 * 1024;

#[derive(Default)]
pub(super) struct HostHead {
    /// Whether a body follows, as far as it matters.
    has_body: bool,
}

impl HostHead {
    /// The head of a request that comes just now.
    pub(super) fn arriving(has_body: bool) -> Self {
        Self { has_body }
    }

    fn held_body(&self) -> usize {
        if !self.has_body {
            return 0;
        }
        let length = request::text(self, "content-length");
        let length = length.and_then(|length| length.parse().ok());
        length.unwrap_or(HELD_BODY).min(HELD_BODY)
    }
}

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

    fn size(&self) -> usize {
        let length = |(name, value): (String, Vec<u8>)| name.len() + value.len();
        let head: usize = fields().into_iter().map(length).sum();
        head + self.held_body()
    }
}

fn fields() -> Vec<(String, Vec<u8>)> {
    hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default()
}
