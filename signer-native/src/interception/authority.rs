//! The certificate authority of the operator: `ca_key_file` and `ca_crt_file`.

use rcgen::{Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A certificate authority with its private key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The authority's certificate first, then those above it, as the file has them.
    chain: Vec<CertificateDer<'static>>,
    not_after: OffsetDateTime,
}

impl Authority {
    /// Reads a private key (RSA or EC in PKCS#8, PKCS#1 or SEC1; Ed25519 in PKCS#8) and the
    /// certificates that go with it: the authority's own, then any intermediates above it.
    pub fn from_pem(key: &[u8], certificates: &[u8]) -> Result<Self, AuthorityError> {
        let key = private_key(key)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|_| AuthorityError::NoCertificate)?;
        let own = chain.first().ok_or(AuthorityError::NoCertificate)?;
        let (_, certificate) =
            X509Certificate::from_der(own).map_err(|_| AuthorityError::NoCertificate)?;
        check(&certificate, &key)?;
        Ok(Self {
            not_after: certificate.validity().not_after.to_datetime(),
            issuer: Issuer::from_ca_cert_der(own, key).map_err(AuthorityError::Unusable)?,
            chain,
        })
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// Whether a signature takes some ten microseconds.
    pub(super) fn signs_at_once(&self) -> bool {
        self.issuer.key().algorithm() == &PKCS_ECDSA_P256_SHA256
    }

    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// When it ends, and with it all that it has issued.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Why files make no authority. The text never holds any of the key.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The first file holds no key that can be read.
    #[error(
        "found no private key; expected an unencrypted RSA or EC key, PEM in PKCS#8, PKCS#1 or SEC1"
    )]
    NoKey,
    /// The key is of a type that signs no certificates here.
    #[error("the private key is neither RSA of 2048 bits or more nor EC (P-256, P-384, P-521)")]
    KeyType,
    /// The second file holds no certificate.
    #[error("found no certificate; expected PEM with \"-----BEGIN CERTIFICATE-----\"")]
    NoCertificate,
    /// RFC 5280 §4.2.1.9: clients refuse what such a certificate has issued.
    #[error("the certificate is no certificate authority (basic constraints without CA)")]
    NotAnAuthority,
    /// RFC 5280 §4.2.1.3: the key usage extension is there and excludes the signing.
    #[error("the key usage of the certificate does not permit it to sign certificates")]
    KeyUsage,
    /// The two files do not belong together.
    #[error("the certificate is for another key than the one in ca_key_file")]
    OtherKey,
    /// The certificate has a part that cannot be taken over into what it issues.
    #[error("the certificate cannot be used: {0}")]
    Unusable(rcgen::Error),
}

fn private_key(pem: &[u8]) -> Result<KeyPair, AuthorityError> {
    // In words of our own: the parser's may quote the file.
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_: pem::Error| AuthorityError::NoKey)?;
    KeyPair::try_from(&key).map_err(|_| AuthorityError::KeyType)
}

fn check(certificate: &X509Certificate<'_>, key: &KeyPair) -> Result<(), AuthorityError> {
    if certificate.public_key().raw != key.subject_public_key_info() {
        return Err(AuthorityError::OtherKey);
    }
    let is_authority = matches!(
        certificate.basic_constraints(),
        Ok(Some(constraints)) if constraints.value.ca
    );
    if !is_authority {
        return Err(AuthorityError::NotAnAuthority);
    }
    match certificate.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => Err(AuthorityError::KeyUsage),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA_CERTIFICATE: &[u8] = include_bytes!("../../tests/ca/rsa.crt");
    const EC_CERTIFICATE: &[u8] = include_bytes!("../../tests/ca/ec.crt");
    const RSA_PKCS8: &[u8] = include_bytes!("../../tests/ca/rsa-pkcs8.pem");

    fn error_of(key: &[u8], certificates: &[u8]) -> AuthorityError {
        Authority::from_pem(key, certificates).unwrap_err()
    }

    #[test]
    fn rsa_and_ec_keys_are_read_in_all_their_encodings() {
        let rsa_pkcs1 = include_bytes!("../../tests/ca/rsa-pkcs1.pem");
        let ec_pkcs8 = include_bytes!("../../tests/ca/ec-pkcs8.pem");
        let ec_sec1 = include_bytes!("../../tests/ca/ec-sec1.pem");
        for (key, certificate) in [
            (RSA_PKCS8, RSA_CERTIFICATE),
            (rsa_pkcs1, RSA_CERTIFICATE),
            (ec_pkcs8, EC_CERTIFICATE),
            (ec_sec1, EC_CERTIFICATE),
        ] {
            let authority = Authority::from_pem(key, certificate).unwrap();
            assert_eq!(authority.chain().len(), 1);
        }
    }

    #[test]
    fn a_certificate_of_another_key_is_refused() {
        let error = error_of(RSA_PKCS8, EC_CERTIFICATE);
        assert!(matches!(error, AuthorityError::OtherKey), "{error}");
    }

    #[test]
    fn a_certificate_that_may_not_issue_others_is_refused() {
        let error = error_of(RSA_PKCS8, include_bytes!("../../tests/ca/rsa-server.crt"));
        assert!(matches!(error, AuthorityError::NotAnAuthority), "{error}");
        let error = error_of(RSA_PKCS8, include_bytes!("../../tests/ca/rsa-no-sign.crt"));
        assert!(matches!(error, AuthorityError::KeyUsage), "{error}");
    }

    #[test]
    fn files_swapped_or_empty_are_named() {
        let error = error_of(RSA_CERTIFICATE, RSA_PKCS8);
        assert!(matches!(error, AuthorityError::NoKey), "{error}");
        let error = error_of(RSA_PKCS8, RSA_PKCS8);
        assert!(matches!(error, AuthorityError::NoCertificate), "{error}");
        let error = error_of(b"", b"");
        assert!(matches!(error, AuthorityError::NoKey), "{error}");
    }

    #[test]
    fn debug_shows_no_key() {
        let authority = Authority::from_pem(RSA_PKCS8, RSA_CERTIFICATE).unwrap();
        let shown = format!("{authority:?}");
        assert!(shown.starts_with("Authority { not_after: "), "{shown}");
    }
}
