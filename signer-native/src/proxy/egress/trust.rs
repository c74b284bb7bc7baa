//! Which servers are believed to be who they say.

mod certificate;
#[cfg(test)]
mod tests;
mod verifier;

use certificate::Certificate;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use transport::pem::{self, PemError};
use verifier::Verifier;

/// The TLS side of the way to servers.
#[derive(Clone, Debug)]
pub struct Trust(ClientConfig);

/// Why a file gives no certificates to trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// There is none in it.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// One of them cannot be read.
    #[error("certificate {0} of the file is damaged")]
    Damaged(usize),
}

impl Trust {
    /// The certificates that the system trusts: those of OpenSSL's folders, or of `SSL_CERT_FILE`
    /// and `SSL_CERT_DIR`. Also says how many there are and what could not be read.
    ///
    /// Read with rustls-native-certs rather than judged by rustls-platform-verifier: on the
    /// systems this runs on the two trust the same, and trusted_certificates replaces one set of
    /// roots by another this way, with the verification the same for both.
    pub fn system() -> (Self, usize, Vec<String>) {
        let found = rustls_native_certs::load_native_certs();
        let errors = found.errors.iter().map(ToString::to_string).collect();
        let parsed = found.certs.into_iter().filter_map(Certificate::parse);
        let verifier = Verifier::of_usable(parsed, &provider());
        let count = verifier.count();
        (Self::verified_by(Arc::new(verifier)), count, errors)
    }

    /// These certificates and no others.
    pub fn only(certificates: Vec<CertificateDer<'static>>) -> Result<Self, TrustError> {
        let parsed = certificates.into_iter().enumerate().map(|(index, der)| {
            let damaged = TrustError::Damaged(index + 1);
            Certificate::parse(der)
                .filter(Certificate::is_usable)
                .ok_or(damaged)
        });
        let parsed: Vec<_> = parsed.collect::<Result<_, _>>()?;
        let verifier = Verifier::of_usable(parsed, &provider());
        Ok(Self::verified_by(Arc::new(verifier)))
    }

    /// No certificate at all.
    pub fn nobody() -> Self {
        Self::verified_by(Arc::new(Verifier::of_usable([], &provider())))
    }

    /// Whoever answers, with whatever certificate.
    pub fn anyone() -> Self {
        Self::verified_by(Arc::new(NoVerification(Arc::new(provider()))))
    }

    /// How a client connects that trusts so.
    pub fn client_config(&self) -> ClientConfig {
        self.0.clone()
    }

    fn verified_by(verifier: Arc<dyn ServerCertVerifier>) -> Self {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = ClientConfig::builder_with_provider(Arc::new(provider()));
        #[expect(clippy::expect_used, reason = "two constants that go together")]
        let builder = builder
            .with_protocol_versions(&versions)
            .expect("the provider has cipher suites for both versions");
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        Self(builder.with_no_client_auth())
    }
}

fn provider() -> CryptoProvider {
    CryptoProvider {
        // Servers with post-quantum key exchange insist on it: offered later, it costs another
        // round trip. The share of X25519 alone goes along for all others.
        kx_groups: vec![
            kx_group::X25519MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
            kx_group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    }
}

/// The certificates of a PEM file.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let certificates = pem::certificates(text)?;
    // Each must be one that can be trusted.
    Trust::only(certificates.clone())?;
    Ok(certificates)
}

/// `insecure_skip_verify`: the handshake is checked, but not whose certificate it is.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
