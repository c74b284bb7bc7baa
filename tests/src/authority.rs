//! Certificates made for one test.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// An authority that servers or clients are told to trust.
pub struct TestAuthority(CertifiedIssuer<'static, KeyPair>);

impl TestAuthority {
    /// Makes one.
    pub fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("a certificate"))
    }

    /// Its certificate as PEM.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// Its private key as PEM.
    pub fn key(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// TLS for a server of these names and addresses.
    pub fn server(&self, names: &[&str], alpn: &[&str]) -> Arc<ServerConfig> {
        self.issue(names, alpn, |_| {})
    }

    /// TLS for a server whose certificate ended yesterday.
    pub fn expired_server(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.issue(names, &[], |parameters| {
            parameters.not_before = OffsetDateTime::now_utc() - Duration::days(2);
            parameters.not_after = OffsetDateTime::now_utc() - Duration::days(1);
        })
    }

    fn issue(
        &self,
        names: &[&str],
        alpn: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<ServerConfig> {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut parameters = CertificateParams::new(names).expect("names");
        change(&mut parameters);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth();
        let chain = vec![certificate.der().clone()];
        let mut tls = tls.with_single_cert(chain, key.into()).expect("TLS");
        tls.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(tls)
    }
}
