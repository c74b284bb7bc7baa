//! The certificate a verifier shows: two files, checked before Envoy gets to see them.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use transport::files::{FileError, read_trusted};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

/// A certificate with its chain, and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
}

/// Why they cannot be used.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// One of them cannot be read, or another user could change it.
    #[error(transparent)]
    Read(#[from] FileError),
    /// No certificate where one is expected.
    #[error("there is no PEM block CERTIFICATE that holds a certificate")]
    NoCertificate,
    /// No key where one is expected.
    #[error("there is no PEM block with an unencrypted private key (PKCS#8, PKCS#1 or SEC1)")]
    NoKey,
    /// A key that Envoy would not take.
    #[error(
        "the private key is of a type or size that TLS does not use; RSA has 2048 bits or more"
    )]
    UnusableKey,
    /// They are not a pair.
    #[error("the private key is not that of the certificate")]
    Mismatch,
}

impl CertificateFiles {
    /// These files, their paths made absolute.
    pub fn new(certificate: &Path, key: &Path) -> io::Result<Self> {
        Ok(Self {
            certificate: std::path::absolute(certificate)?,
            key: std::path::absolute(key)?,
        })
    }

    /// The file with the certificate and its chain.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// The file with the private key.
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// Whether Envoy could use what is in the files now.
    pub fn check(&self) -> Result<(), CertificateError> {
        let certificate = certificate_key(&read(&self.certificate)?)?;
        let key = private_key(&read(&self.key)?)?;
        check_pair(&certificate, &key)
    }
}

/// The public key, as bits, that a private key or a certificate has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyBits(Vec<u8>);

/// The key in the first certificate of this PEM file, all of which must be certificates.
pub fn certificate_key(pem: &[u8]) -> Result<KeyBits, CertificateError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|_| CertificateError::NoCertificate)?;
    let keys: Result<Vec<_>, _> = chain.iter().map(key_of).collect();
    let first = keys?.into_iter().next();
    first.ok_or(CertificateError::NoCertificate)
}

fn key_of(certificate: &CertificateDer<'_>) -> Result<KeyBits, CertificateError> {
    // Envoy takes certificates of version 1 as well, which TLS libraries for the open internet,
    // rustls among them, refuse.
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::NoCertificate)?;
    Ok(bits(certificate.public_key()))
}

/// The key of this PEM file.
pub fn private_key(pem: &[u8]) -> Result<KeyBits, CertificateError> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| CertificateError::NoKey)?;
    let key = any_supported_type(&key).map_err(|_| CertificateError::UnusableKey)?;
    let public = key.public_key().ok_or(CertificateError::UnusableKey)?;
    let (_, public) =
        SubjectPublicKeyInfo::from_der(&public).map_err(|_| CertificateError::UnusableKey)?;
    Ok(bits(&public))
}

/// Whether the two belong together.
pub fn check_pair(certificate: &KeyBits, key: &KeyBits) -> Result<(), CertificateError> {
    match certificate == key {
        true => Ok(()),
        false => Err(CertificateError::Mismatch),
    }
}

/// Without the name of the algorithm, which is written in more than one way.
fn bits(key: &SubjectPublicKeyInfo<'_>) -> KeyBits {
    KeyBits(key.subject_public_key.data.to_vec())
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    Ok(read_trusted(path)?.content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    fn pair() -> (String, String) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn files_that_every_user_can_write_are_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["crt", "key"].map(|name| folder.path().join(name));
        let (chain, private) = pair();
        std::fs::write(&certificate, chain).unwrap();
        std::fs::write(&key, private).unwrap();
        let files = CertificateFiles::new(&certificate, &key).unwrap();
        for path in [&certificate, &key] {
            let set = |mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            set(0o666);
            let error = files.check().unwrap_err();
            assert!(matches!(error, CertificateError::Read(_)), "{error}");
            set(0o600);
            files.check().unwrap();
        }
    }

    fn check(certificate: &str, key: &str) -> Result<(), CertificateError> {
        let certificate = certificate_key(certificate.as_bytes())?;
        check_pair(&certificate, &private_key(key.as_bytes())?)
    }

    #[test]
    fn a_pair_is_accepted_with_its_chain_behind_it() {
        let ((certificate, key), (issuer, _)) = (pair(), pair());
        check(&certificate, &key).unwrap();
        check(&format!("{certificate}{issuer}"), &key).unwrap();
        let reversed = check(&format!("{issuer}{certificate}"), &key);
        assert!(matches!(reversed, Err(CertificateError::Mismatch)));
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        let (certificate, key) = pair();
        let other = KeyPair::generate().unwrap().serialize_pem();
        let cut = certificate.replacen("MII", "MIA", 1);
        for (certificate, key, problem) in [
            (certificate.as_str(), other.as_str(), "is not that of"),
            (&key, &key, "no PEM block CERTIFICATE"),
            ("", &key, "no PEM block CERTIFICATE"),
            (&cut, &key, "no PEM block CERTIFICATE"),
            (&certificate, &certificate, "unencrypted private key"),
        ] {
            let error = check(certificate, key).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
