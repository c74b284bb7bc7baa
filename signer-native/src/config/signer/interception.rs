//! `ca_key_file` and `ca_crt_file`.

use super::super::file;
use super::Warnings;
use crate::interception::{Authority, Interceptor};
use jwt_core::config::reader::Section;
use time::OffsetDateTime;

/// `Some(None)` when both are absent: CONNECT is refused then.
pub(super) fn interceptor(
    section: &mut Section<'_>,
    warnings: &mut Warnings,
) -> Option<Option<Interceptor>> {
    let key_field = section.field("ca_key_file");
    let certificate_field = section.field("ca_crt_file");
    match (key_field.is_present(), certificate_field.is_present()) {
        (false, false) => return Some(None),
        (true, false) => {
            certificate_field.mistake("missing: it goes together with ca_key_file");
            return None;
        }
        (false, true) => {
            key_field.mistake("missing: it goes together with ca_crt_file");
            return None;
        }
        (true, true) => {}
    }
    let key = key_field.required(file::read_secret_bytes);
    let certificates = certificate_field.required(file::read);
    let authority = match Authority::from_pem(&key?, &certificates?) {
        Ok(authority) => authority,
        Err(error) => {
            section.mistake(format!("ca_key_file and ca_crt_file: {error}"));
            return None;
        }
    };
    for warning in authority.warnings(OffsetDateTime::now_utc()) {
        warnings.add(format!(
            "the authority in ca_crt_file {warning} (docs/signer.md has the command for one that \
             all clients trust)"
        ));
    }
    match Interceptor::new(authority) {
        Ok(interceptor) => Some(Some(interceptor)),
        Err(error) => {
            section.mistake(format!("ca_key_file and ca_crt_file: {error}"));
            None
        }
    }
}
