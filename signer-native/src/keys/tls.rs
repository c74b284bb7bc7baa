//! Whom to believe to be the registry.

use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// Whoever has a certificate that the system trusts.
pub fn system_roots() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[expect(clippy::expect_used, reason = "two constants that go together")]
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for these versions");
    builder.with_root_certificates(roots).with_no_client_auth()
}
