//! The certificate authority of the operator: `ca_key_file` and `ca_crt_file`.

use super::weaknesses;
use rcgen::{Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls_pki_types::CertificateDer;
use std::fmt;
use time::OffsetDateTime;
use transport::pem::{self, PemError};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A certificate authority with its private key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The authority's certificate first, then those above it, as the file has them.
    chain: Vec<CertificateDer<'static>>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    weaknesses: Vec<String>,
}

impl Authority {
    /// Reads a private key (RSA or EC in PKCS#8, PKCS#1 or SEC1; Ed25519 in PKCS#8) and the
    /// certificates that go with it: the authority's own, then any intermediates above it.
    pub fn from_pem(key: &[u8], certificates: &[u8]) -> Result<Self, AuthorityError> {
        let key = private_key(key)?;
        let mut chain = pem::certificates(certificates).map_err(AuthorityError::Certificates)?;
        move_own_to_front(&mut chain, &key)?;
        let own = chain.first().ok_or(AuthorityError::OtherKey)?;
        let (_, certificate) =
            X509Certificate::from_der(own).map_err(|_| AuthorityError::Damaged)?;
        check(&certificate)?;
        Ok(Self {
            not_before: certificate.validity().not_before.to_datetime(),
            not_after: certificate.validity().not_after.to_datetime(),
            weaknesses: weaknesses::find(&certificate),
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

    /// What about its certificate some clients do not accept, now or soon.
    pub fn warnings(&self, now: OffsetDateTime) -> Vec<String> {
        let of_time = weaknesses::of_time(self.not_before, self.not_after, now);
        let all = self.weaknesses.iter().cloned().chain(of_time);
        all.collect()
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
    #[error("ca_key_file: {0}")]
    Key(PemError),
    /// The key is of a type that signs no certificates here.
    #[error("the private key is neither RSA of 2048 bits or more nor EC (P-256, P-384, P-521)")]
    KeyType,
    /// The second file holds no certificate.
    #[error("ca_crt_file: {0}")]
    Certificates(PemError),
    /// One of its certificates is damaged.
    #[error("ca_crt_file: a certificate in it is damaged")]
    Damaged,
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

fn private_key(text: &[u8]) -> Result<KeyPair, AuthorityError> {
    let key = pem::private_key(text).map_err(AuthorityError::Key)?;
    KeyPair::try_from(&key).map_err(|_| AuthorityError::KeyType)
}

/// Some tools write a chain with the root first.
fn move_own_to_front(
    chain: &mut [CertificateDer<'static>],
    key: &KeyPair,
) -> Result<(), AuthorityError> {
    let mut keys = Vec::new();
    for certificate in chain.iter() {
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| AuthorityError::Damaged)?;
        keys.push(certificate.public_key().raw.to_vec());
    }
    let own = key.subject_public_key_info();
    let index = keys.iter().position(|key| *key == own);
    let up_to_own = index.and_then(|index| chain.get_mut(..=index));
    up_to_own.ok_or(AuthorityError::OtherKey)?.rotate_right(1);
    Ok(())
}

fn check(certificate: &X509Certificate<'_>) -> Result<(), AuthorityError> {
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
        assert!(matches!(error, AuthorityError::Key(_)), "{error}");
        let error = error_of(RSA_PKCS8, RSA_PKCS8);
        assert!(matches!(error, AuthorityError::Certificates(_)), "{error}");
        let error = error_of(b"", b"");
        assert!(matches!(error, AuthorityError::Key(_)), "{error}");
    }

    #[test]
    fn the_authority_is_found_behind_other_certificates_and_text() {
        let both = [EC_CERTIFICATE, b"text\n", RSA_CERTIFICATE].concat();
        let one_line = String::from_utf8(RSA_PKCS8.to_vec())
            .unwrap()
            .replace('\n', "");
        let authority = Authority::from_pem(one_line.as_bytes(), &both).unwrap();
        assert_eq!(authority.chain().len(), 2);
        assert_eq!(
            authority.chain()[..1],
            pem::certificates(RSA_CERTIFICATE).unwrap()
        );
    }

    #[test]
    fn debug_shows_no_key() {
        let authority = Authority::from_pem(RSA_PKCS8, RSA_CERTIFICATE).unwrap();
        let shown = format!("{authority:?}");
        assert!(shown.starts_with("Authority { not_after: "), "{shown}");
    }
}
