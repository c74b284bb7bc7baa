//! `admin_addr`.

use super::super::address::listen_address;
use envoy::verifier::SocketAddress;
use jwt_core::config::reader::Section;

/// None by default.
pub(super) fn admin(section: &mut Section<'_>) -> Option<Option<SocketAddress>> {
    let field = section.field("admin_addr");
    match field.is_present() {
        true => field.required(listen_address).map(Some),
        false => Some(None),
    }
}
