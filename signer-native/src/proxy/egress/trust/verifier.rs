//! How a server's certificate is verified.

use super::certificate::{Certificate, Validity};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use std::sync::{Arc, Mutex, PoisonError};

/// Trusts some certificates: as authorities, and as the servers' own.
///
/// rustls-webpki builds and checks the paths. What it does not do is done here: it looks neither at
/// the dates of roots nor at whether they may issue at all, and it refuses an authority as a
/// server's own certificate. In all of this OpenSSL and Go decide otherwise.
#[derive(Debug)]
pub(super) struct Verifier {
    certificates: Vec<Certificate>,
    valid: Mutex<Arc<Valid>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The authorities whose time it is, from one second to another.
#[derive(Debug)]
struct Valid {
    store: RootCertStore,
    from: i64,
    before: i64,
}

impl Verifier {
    /// Leaves out what [`Certificate::is_usable`] says no to.
    pub(super) fn of_usable(
        certificates: impl IntoIterator<Item = Certificate>,
        provider: &CryptoProvider,
    ) -> Self {
        let certificates = certificates.into_iter().filter(Certificate::is_usable);
        Self {
            certificates: certificates.collect(),
            // Found at the first use.
            valid: Mutex::new(Arc::new(Valid {
                store: RootCertStore::empty(),
                from: 0,
                before: 0,
            })),
            algorithms: provider.signature_verification_algorithms,
        }
    }

    /// How many certificates are trusted.
    pub(super) fn count(&self) -> usize {
        self.certificates.len()
    }

    /// The trusted certificate that a server presents, if it does.
    fn presented(&self, certificate: &CertificateDer<'_>) -> Option<&Certificate> {
        let mut all = self.certificates.iter();
        all.find(|own| own.der().as_ref() == certificate.as_ref())
    }

    fn authorities(&self) -> impl Iterator<Item = (&Certificate, &TrustAnchor<'static>)> {
        let all = self.certificates.iter();
        all.filter_map(|certificate| Some((certificate, certificate.anchor()?)))
    }

    fn valid_at(&self, now: i64) -> Arc<Valid> {
        let mut valid = self.valid.lock().unwrap_or_else(PoisonError::into_inner);
        if !(valid.from..valid.before).contains(&now) {
            *valid = Arc::new(self.find_valid(now));
        }
        Arc::clone(&valid)
    }

    fn find_valid(&self, now: i64) -> Valid {
        let mut valid = Valid {
            store: RootCertStore::empty(),
            from: i64::MIN,
            before: i64::MAX,
        };
        for (certificate, anchor) in self.authorities() {
            let Validity { from, to } = certificate.validity();
            if (from..=to).contains(&now) {
                valid.store.roots.push(anchor.clone());
            }
            for change in [from, to.saturating_add(1)] {
                if change <= now {
                    valid.from = valid.from.max(change);
                } else {
                    valid.before = valid.before.min(change);
                }
            }
        }
        valid
    }

    fn verify_path(
        &self,
        certificate: &ParsedCertificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let verify = |store| {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                certificate,
                store,
                intermediates,
                now,
                algorithms,
            )
        };
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let valid = self.valid_at(seconds);
        let verified = verify(&valid.store);
        if verified.is_ok() || valid.store.len() == self.authorities().count() {
            return verified;
        }
        // Is it that the authority has expired, rather than that it is not known?
        let of_any_time = RootCertStore {
            roots: self
                .authorities()
                .map(|(_, anchor)| anchor.clone())
                .collect(),
        };
        match verify(&of_any_time) {
            Ok(()) => Err(CertificateError::Expired.into()),
            Err(_) => verified,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(own) = self.presented(end_entity) {
            own.verify_server(server_name, now)?;
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        self.verify_path(&certificate, intermediates, now)?;
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let own = self.presented(certificate).filter(|it| it.is_version_1());
        match own {
            Some(own) => verify_tls12_signature_with(own, message, signed, &self.algorithms),
            None => verify_tls12_signature(message, certificate, signed, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let own = self.presented(certificate).filter(|it| it.is_version_1());
        match own {
            Some(own) => {
                verify_tls13_signature_with_raw_key(message, own.key(), signed, &self.algorithms)
            }
            None => verify_tls13_signature(message, certificate, signed, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What [`verify_tls12_signature`] does, for a certificate of version 1, which it does not read.
fn verify_tls12_signature_with(
    own: &Certificate,
    message: &[u8],
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let unadvertised = || PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme;
    let mut mapping = algorithms.mapping.iter();
    let (_, possible) = mapping
        .find(|(scheme, _)| *scheme == signed.scheme)
        .ok_or_else(unadvertised)?;
    let bad_signature = || Error::from(CertificateError::BadSignature);
    let (algorithm, key) = own.key_parts().ok_or_else(bad_signature)?;
    let verified = possible.iter().any(|it| {
        it.public_key_alg_id().as_ref() == algorithm
            && it
                .verify_signature(&key, message, signed.signature())
                .is_ok()
    });
    match verified {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(bad_signature()),
    }
}
