//! What about an authority's certificate some clients do not accept.
//!
//! OpenSSL alone accepts most of it by default, so that the first client to fail may be one that is
//! added months later. Python 3.13 and later ask OpenSSL for `X509_V_FLAG_X509_STRICT`.

use time::{Duration, OffsetDateTime};
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::{
    OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA, OID_SIG_ED25519, Oid, asn1_rs::oid,
};
use x509_parser::prelude::X509Certificate;

/// RFC 3279 §2.2.3.
const ECDSA_WITH_SHA1: Oid<'_> = oid!(1.2.840.10045.4.1);

/// How early the end of an authority is announced.
const SOON: Duration = Duration::days(30);

/// Each weakness in a sentence, but for those of time.
pub(super) fn find(certificate: &X509Certificate<'_>) -> Vec<String> {
    let strict = "Python 3.13 and other strict clients do not trust it";
    let extensions = || certificate.extensions().iter();
    let has = |is: fn(&ParsedExtension<'_>) -> bool| {
        extensions().any(|extension| is(extension.parsed_extension()))
    };
    let critical = matches!(certificate.basic_constraints(), Ok(Some(it)) if it.critical);
    let usage = has(|it| matches!(it, ParsedExtension::KeyUsage(_)));
    let identifier = has(|it| matches!(it, ParsedExtension::SubjectKeyIdentifier(_)));
    let issuer = has(|it| matches!(it, ParsedExtension::AuthorityKeyIdentifier(_)));
    let constraints = has(|it| matches!(it, ParsedExtension::NameConstraints(_)));
    let self_issued = certificate.subject().as_raw() == certificate.issuer().as_raw();
    let server_auth = match certificate.extended_key_usage() {
        Ok(Some(usage)) => usage.value.any || usage.value.server_auth,
        _ => true,
    };
    let algorithm = &certificate.signature_algorithm.algorithm;
    let weak_hash = [
        OID_PKCS1_MD5WITHRSAENC,
        OID_PKCS1_SHA1WITHRSA,
        ECDSA_WITH_SHA1,
    ];
    let ed25519 = certificate.public_key().algorithm.algorithm == OID_SIG_ED25519;
    [
        (!usage, format!("has no keyUsage keyCertSign: {strict}")),
        (!identifier, format!("has no subjectKeyIdentifier: {strict}")),
        (
            !issuer && !self_issued,
            format!("has no authorityKeyIdentifier: {strict}"),
        ),
        (
            !critical,
            format!("has basicConstraints that are not critical: {strict}"),
        ),
        (
            certificate.subject().iter().next().is_none(),
            format!("has no subject: {strict}"),
        ),
        (
            !server_auth,
            "has an extendedKeyUsage without serverAuth: OpenSSL, Go and browsers do not accept the \
             certificates it issues"
                .to_owned(),
        ),
        (
            weak_hash.contains(algorithm),
            "is signed with SHA-1 or MD5: many clients do not trust it".to_owned(),
        ),
        (
            ed25519,
            "has an Ed25519 key: browsers and older clients do not trust it".to_owned(),
        ),
        (
            constraints,
            "has name constraints: clients refuse hosts that are outside of them".to_owned(),
        ),
    ]
    .into_iter()
    .filter_map(|(is_weak, text)| is_weak.then_some(text))
    .collect()
}

/// What time does to it.
pub(super) fn of_time(
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    now: OffsetDateTime,
) -> Option<String> {
    if not_after <= now {
        return Some(format!(
            "expired at {not_after}: no https request gets through until it is replaced"
        ));
    }
    if now < not_before {
        return Some(format!(
            "is valid from {not_before} only: until then no client accepts what it issues"
        ));
    }
    let left = not_after - now;
    (left < SOON).then(|| {
        let days = left.whole_days();
        format!("expires at {not_after}, in {days} days: replace it, and in all clients, before")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa,
        KeyPair, KeyUsagePurpose, PKCS_ED25519,
    };
    use x509_parser::prelude::FromDer as _;

    fn good() -> CertificateParams {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        parameters
    }

    fn found(parameters: &CertificateParams, key: &KeyPair) -> String {
        let certificate = parameters.self_signed(key).unwrap();
        let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
        find(&parsed).join("\n")
    }

    #[test]
    fn each_weakness_is_named() {
        let key = KeyPair::generate().unwrap();
        assert_eq!(found(&good(), &key), "");
        let mut no_usage = good();
        no_usage.key_usages.clear();
        assert!(found(&no_usage, &key).contains("keyCertSign"));
        let mut no_name = good();
        no_name.distinguished_name = DistinguishedName::new();
        assert!(found(&no_name, &key).contains("no subject"));
        let mut for_clients = good();
        for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        assert!(found(&for_clients, &key).contains("without serverAuth"));
        let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        assert!(found(&good(), &ed25519).contains("Ed25519"));
    }

    #[test]
    fn the_end_is_announced_a_month_before() {
        let now = OffsetDateTime::now_utc();
        let said = |from: i64, to: i64| {
            let days = Duration::days;
            of_time(now + days(from), now + days(to), now).unwrap_or_default()
        };
        assert_eq!(said(-1, 31), "");
        assert!(said(-1, 29).contains("in 29 days"));
        assert!(said(-9, -1).contains("expired at"));
        assert!(said(1, 99).contains("is valid from"));
    }
}
