//! One certificate that a configuration trusts.

use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::{
    CertificateDer, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use std::net::IpAddr;
use x509_parser::asn1_rs::Any;
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate, X509Version};
use x509_parser::x509::SubjectPublicKeyInfo;

/// A trusted certificate: it may issue others, if it is an authority, and it may be the server's
/// own.
///
/// `openssl req -x509` makes certificates that are both, so a server that presents exactly a trusted
/// certificate is that server, whatever its basic constraints say. OpenSSL and Go agree.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    der: CertificateDer<'static>,
    key: SubjectPublicKeyInfoDer<'static>,
    validity: Validity,
    /// It as an authority, where it is one.
    anchor: Anchor,
    is_for_servers: bool,
    has_extensions: bool,
    /// What stands in for names in a certificate that has no subject alternative name.
    common_names: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
enum Anchor {
    /// It may issue others.
    Usable(TrustAnchor<'static>),
    /// It may, but rustls cannot read it.
    Unusable,
    /// It must not.
    None,
}

/// From and to, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validity {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Validity {
    pub(super) fn check(self, now: i64) -> Result<(), CertificateError> {
        match () {
            () if now < self.from => Err(CertificateError::NotValidYet),
            () if now > self.to => Err(CertificateError::Expired),
            () => Ok(()),
        }
    }
}

impl Certificate {
    /// `None` if it is damaged.
    pub(super) fn parse(der: CertificateDer<'static>) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(&der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let usage = parsed.extended_key_usage().ok()?;
        let is_named = (parsed.extensions().iter()).any(|it| {
            matches!(
                it.parsed_extension(),
                ParsedExtension::SubjectAlternativeName(_)
            )
        });
        let common_names = || {
            let names = parsed.subject().iter_common_name();
            names.filter_map(|name| name.as_str().ok().map(str::to_owned))
        };
        Some(Self {
            key: parsed.public_key().raw.to_vec().into(),
            validity: Validity {
                from: parsed.validity().not_before.timestamp(),
                to: parsed.validity().not_after.timestamp(),
            },
            anchor: match is_authority(&parsed)? {
                true => anchor(&der),
                false => Anchor::None,
            },
            is_for_servers: usage.is_none_or(|it| it.value.any || it.value.server_auth),
            has_extensions: parsed.version() == X509Version::V3,
            common_names: (!is_named).then(|| common_names().collect()),
            der,
        })
    }

    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(super) fn key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.key
    }

    /// The content of the AlgorithmIdentifier, and the bits of the key.
    pub(super) fn key_parts(&self) -> Option<(&[u8], Vec<u8>)> {
        let (_, key) = SubjectPublicKeyInfo::from_der(&self.key).ok()?;
        let (_, outer) = Any::from_der(&self.key).ok()?;
        let (_, algorithm) = Any::from_der(outer.data).ok()?;
        Some((algorithm.data, key.subject_public_key.data.to_vec()))
    }

    pub(super) fn validity(&self) -> Validity {
        self.validity
    }

    /// Where paths may end, if it may issue others.
    pub(super) fn anchor(&self) -> Option<&TrustAnchor<'static>> {
        match &self.anchor {
            Anchor::Usable(anchor) => Some(anchor),
            Anchor::Unusable | Anchor::None => None,
        }
    }

    /// Whether nothing about it is beyond what can be verified here.
    pub(super) fn is_usable(&self) -> bool {
        !matches!(self.anchor, Anchor::Unusable)
    }

    /// Whether it is of version 1, which rustls does not read.
    pub(super) fn is_version_1(&self) -> bool {
        !self.has_extensions
    }

    /// Whether a server that presents it, and has its private key, is the server of that name.
    pub(super) fn verify_server(&self, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.validity.check(now)?;
        if !self.is_for_servers {
            return Err(CertificateError::InvalidPurpose.into());
        }
        match &self.common_names {
            None => verify_server_name(&ParsedCertificate::try_from(&self.der)?, name),
            Some(names) if names.iter().any(|own| is_name(own, name)) => Ok(()),
            Some(_) => Err(CertificateError::NotValidForName.into()),
        }
    }
}

fn anchor(der: &CertificateDer<'static>) -> Anchor {
    let mut store = RootCertStore::empty();
    // rustls has no other way to one anchor.
    let added = store.add(der.clone());
    let anchor = store.roots.pop().filter(|_| added.is_ok());
    anchor.map_or(Anchor::Unusable, Anchor::Usable)
}

/// RFC 5280 §4.2.1.9 and §4.2.1.3. Roots of version 1 have no extensions, and every client takes
/// them. `None` if an extension is damaged.
fn is_authority(certificate: &X509Certificate<'_>) -> Option<bool> {
    if certificate.version() != X509Version::V3 {
        return Some(true);
    }
    let constraints = certificate.basic_constraints().ok()?;
    let usage = certificate.key_usage().ok()?;
    Some(
        constraints.is_some_and(|it| it.value.ca)
            && usage.is_none_or(|it| it.value.key_cert_sign()),
    )
}

/// Whether a common name is the name of a server, as browsers matched it before they demanded
/// subject alternative names: a host, `*` for its first label, or an address.
fn is_name(common_name: &str, name: &ServerName<'_>) -> bool {
    let ServerName::DnsName(host) = name else {
        let address = common_name.parse::<IpAddr>().ok();
        return address.is_some_and(|it| ServerName::from(it) == *name);
    };
    let host = host.as_ref().trim_end_matches('.');
    let common_name = common_name.trim_end_matches('.');
    match common_name.strip_prefix("*.") {
        // Not all hosts of a top-level domain.
        Some(domain) if domain.contains('.') => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain)),
        Some(_) => false,
        None => host.eq_ignore_ascii_case(common_name),
    }
}
