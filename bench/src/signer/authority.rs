//! Certificates for one run.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use std::net::IpAddr;

/// An authority, with a P-256 key.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key, both PEM.
pub(super) struct Identity {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("a certificate"))
    }

    /// Its own certificate, PEM.
    pub(super) fn certificate(&self) -> String {
        self.0.pem()
    }

    /// Its private key, PEM.
    pub(super) fn key(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// A certificate with a new key, P-256 too, for all these addresses.
    pub(super) fn issue(&self, addresses: &[IpAddr]) -> Identity {
        let names: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let parameters = CertificateParams::new(names).expect("addresses");
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}
