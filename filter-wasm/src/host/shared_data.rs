//! [`SharedData`] as the host has it.

use crate::shared_data::{Conflict, SharedData, Version};
use proxy_wasm::hostcalls;

pub(super) struct HostSharedData;

/// The host compares only where the key exists; on an absent one any number writes. So a number
/// that no write has is "only if absent" (0 would be "overwrite").
const ONLY_IF_ABSENT: u32 = u32::MAX;

impl SharedData for HostSharedData {
    fn get(&self, key: &str) -> (Vec<u8>, Version) {
        match hostcalls::get_shared_data(key) {
            Ok((value, Some(cas))) => (value.unwrap_or_default(), Version::Of(cas)),
            _ => (Vec::new(), Version::Absent),
        }
    }

    fn set(&self, key: &str, value: &[u8], version: Version) -> Result<(), Conflict> {
        let cas = match version {
            Version::Absent => ONLY_IF_ABSENT,
            Version::Of(cas) => cas,
        };
        hostcalls::set_shared_data(key, Some(value), Some(cas)).map_err(|_| Conflict)
    }
}
