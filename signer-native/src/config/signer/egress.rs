//! `trusted_certificates`, `insecure_skip_verify` and `parent_proxy`.

use super::super::file::read_named;
use super::Warnings;
use crate::proxy::{Egress, ParentProxy, Trust, certificates};
use jwt_core::config::reader::{self, Expected, Section};
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use std::sync::Arc;

pub(super) fn egress(section: &mut Section<'_>, warnings: &mut Warnings) -> Option<Egress> {
    let own_roots = section
        .field("trusted_certificates")
        .or(Vec::new(), certificate_files);
    let anyone = section
        .field("insecure_skip_verify")
        .or(false, reader::boolean);
    let parent = parent_proxy(section);
    Some(Egress {
        trust: trust(own_roots?, anyone?, warnings)?,
        parent: parent?,
    })
}

fn trust(
    own_roots: Vec<CertificateDer<'static>>,
    anyone: bool,
    warnings: &mut Warnings,
) -> Option<Trust> {
    if anyone {
        warnings.add(
            "insecure_skip_verify is on: whoever answers for an https server is believed, and \
             gets the token",
        );
        return Some(Trust::anyone());
    }
    if !own_roots.is_empty() {
        // They were read one by one already.
        return Trust::only(own_roots).ok();
    }
    let (trust, count, errors) = Trust::system();
    for error in errors {
        warnings.add(format!("system certificates: {error}"));
    }
    if count == 0 {
        warnings.add(
            "the system has no trusted certificates, so no https server will be believed; install \
             ca-certificates or set trusted_certificates",
        );
    }
    Some(trust)
}

/// The content of PEM files.
fn certificate_files(value: &Value) -> Result<Vec<CertificateDer<'static>>, Expected> {
    let files = value.as_array().ok_or("a list of PEM files")?;
    let mut found = Vec::new();
    for file in files {
        let certificates = read_named(file, certificates);
        found.extend(certificates.map_err(|expected| format!("{file} to be {expected}"))?);
    }
    Ok(found)
}

/// The value is never shown: it may hold a password.
fn parent_proxy(section: &mut Section<'_>) -> Option<Option<Arc<ParentProxy>>> {
    let field = section.field("parent_proxy");
    if !field.is_present() {
        return Some(None);
    }
    let text = field.required(reader::text)?;
    match ParentProxy::parse(&text) {
        Ok(parent) => Some(Some(Arc::new(parent))),
        Err(error) => {
            section.mistake(format!("parent_proxy: expected {error}"));
            None
        }
    }
}
