//! The certificate a verifier shows: two files, checked before Envoy gets to see them.

use jwt_keys::pem::{self, Block};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::CertificateDer;
use std::path::{Path, PathBuf};
use std::{fmt, io};
use thiserror::Error;
use transport::files::{FileError, read_trusted};
use transport::pem::PemError;
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
    /// No certificate, or no key, where one is expected.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A certificate that is damaged.
    #[error("a certificate in it is damaged")]
    Damaged,
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

    /// Whether Envoy could use what is in the files now, and how they are for it.
    pub fn check(&self) -> Result<ForEnvoy, CertificateError> {
        let (certificates, key) = (read(&self.certificate)?, read(&self.key)?);
        check_pair(&certificate_key(&certificates)?, &private_key(&key)?)?;
        Ok(ForEnvoy {
            certificates: rewritten(&certificates, &pem::certificates(&certificates)?),
            key: rewritten(&key, &[pem::private_key(&key)?]),
        })
    }
}

/// What Envoy is to read in the place of files whose PEM is not as RFC 7468 has it: BoringSSL
/// reads less than others. `None` is the file itself, so that most keys have no second copy.
#[derive(Default)]
pub struct ForEnvoy {
    pub(crate) certificates: Option<String>,
    pub(crate) key: Option<String>,
}

/// Not the content: there is a private key in it.
impl fmt::Debug for ForEnvoy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForEnvoy").finish_non_exhaustive()
    }
}

/// `None` if these blocks, in this order, are all that Envoy would find.
fn rewritten(file: &[u8], blocks: &[Block]) -> Option<String> {
    let strict: String = blocks.iter().map(Block::to_pem).collect();
    let text = String::from_utf8_lossy(file).replace("\r\n", "\n");
    let same = text.trim_end() == strict.trim_end();
    (!same).then_some(strict)
}

/// The public key, as bits, that a private key or a certificate has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyBits(Vec<u8>);

/// The key in the first certificate of this PEM file, all of which must be certificates.
pub fn certificate_key(pem: &[u8]) -> Result<KeyBits, CertificateError> {
    let chain = transport::pem::certificates(pem)?;
    let keys: Result<Vec<_>, _> = chain.iter().map(key_of).collect();
    let first = keys?.into_iter().next();
    first.ok_or(CertificateError::Damaged)
}

fn key_of(certificate: &CertificateDer<'_>) -> Result<KeyBits, CertificateError> {
    // Envoy takes certificates of version 1 as well, which TLS libraries for the open internet,
    // rustls among them, refuse.
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::Damaged)?;
    Ok(bits(certificate.public_key()))
}

/// The key of this PEM file.
pub fn private_key(pem: &[u8]) -> Result<KeyBits, CertificateError> {
    let key = transport::pem::private_key(pem)?;
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
    fn files_that_envoy_could_misread_are_rewritten() {
        let folder = tempfile::tempdir().unwrap();
        let [crt, key] = ["crt", "key"].map(|name| folder.path().join(name));
        let files = CertificateFiles::new(&crt, &key).unwrap();
        let (certificate_pem, key_pem) = pair();
        let (certificate_pem, key_pem) = (
            certificate_pem.replace("\r\n", "\n"),
            key_pem.replace("\r\n", "\n"),
        );
        let written = |certificate: &str, private_key: &str| {
            std::fs::write(&crt, certificate).unwrap();
            std::fs::write(&key, private_key).unwrap();
            files.check().unwrap()
        };
        for same in [
            certificate_pem.clone(),
            certificate_pem.replace('\n', "\r\n"),
        ] {
            let found = written(&same, key_pem.trim_end());
            assert!(found.certificates.is_none() && found.key.is_none());
        }
        let one_line = |pem: &str| pem.replace('\n', "");
        let found = written(&one_line(&certificate_pem), &one_line(&key_pem));
        assert_eq!(found.certificates, Some(certificate_pem.clone()));
        assert_eq!(found.key, Some(key_pem.clone()));
        let both = format!("{key_pem}{certificate_pem}");
        let found = written(&both, &both);
        assert_eq!(found.certificates, Some(certificate_pem));
        assert_eq!(found.key, Some(key_pem));
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        let (certificate, key) = pair();
        let other = KeyPair::generate().unwrap().serialize_pem();
        let cut = certificate.replacen("MII", "MIA", 1);
        for (certificate, key, problem) in [
            (certificate.as_str(), other.as_str(), "is not that of"),
            (&key, &key, "expected PEM with a CERTIFICATE"),
            ("", &key, "expected PEM with a CERTIFICATE"),
            (&cut, &key, "damaged"),
            (&certificate, &certificate, "unencrypted PRIVATE KEY"),
        ] {
            let error = check(certificate, key).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
