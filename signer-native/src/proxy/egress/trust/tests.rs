//! What is accepted here and refused is what OpenSSL and Go accept and refuse.

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::CertificateError;
use time::{Duration as Days, OffsetDateTime};

type Authority = CertifiedIssuer<'static, KeyPair>;
type Der = CertificateDer<'static>;

fn parameters(names: &[&str]) -> CertificateParams {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters
        .distinguished_name
        .push(DnType::CommonName, "cn.test");
    parameters.subject_alt_names = (names.iter())
        .map(|name| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        })
        .collect();
    parameters
}

fn authority_of(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Authority {
    let mut parameters = parameters(&[]);
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut parameters);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

fn under(issuer: &Authority, parameters: CertificateParams) -> Authority {
    let key = KeyPair::generate().unwrap();
    CertifiedIssuer::signed_by(parameters, key, issuer).unwrap()
}

fn issued(issuer: &Authority, names: &[&str]) -> Der {
    under(issuer, parameters(names)).der().clone()
}

/// What a client that trusts `trusted` says of a server that presents `chain`.
fn said(trusted: &[Der], chain: &[Der], name: &str) -> Result<(), Error> {
    said_at(trusted, chain, name, Days::ZERO)
}

fn said_at(trusted: &[Der], chain: &[Der], name: &str, later: Days) -> Result<(), Error> {
    let trusted = trusted
        .iter()
        .map(|der| Certificate::parse(der.clone()).unwrap());
    let verifier = Verifier::of_usable(trusted, &provider());
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let now = (OffsetDateTime::now_utc() + later).unix_timestamp();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now as u64));
    let (own, others) = chain.split_first().unwrap();
    let verified = verifier.verify_server_cert(own, others, &name, &[], now);
    verified.map(|_| ())
}

fn is(result: &Result<(), Error>, expected: &CertificateError) -> bool {
    use CertificateError as E;
    matches!(
        (result, expected),
        (
            Err(Error::InvalidCertificate(
                E::Expired | E::ExpiredContext { .. }
            )),
            E::Expired
        ) | (
            Err(Error::InvalidCertificate(
                E::NotValidYet | E::NotValidYetContext { .. }
            )),
            E::NotValidYet
        ) | (
            Err(Error::InvalidCertificate(
                E::NotValidForName | E::NotValidForNameContext { .. }
            )),
            E::NotValidForName
        ) | (
            Err(Error::InvalidCertificate(
                E::InvalidPurpose | E::InvalidPurposeContext { .. }
            )),
            E::InvalidPurpose
        ) | (
            Err(Error::InvalidCertificate(E::UnknownIssuer)),
            E::UnknownIssuer
        )
    )
}

/// As `openssl req -x509 -nodes -newkey rsa:2048` makes them.
fn from_the_documentation(
    common_name: &str,
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> Authority {
    let mut all = parameters(names);
    all.distinguished_name.push(DnType::CommonName, common_name);
    all.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut all);
    CertifiedIssuer::self_signed(all, KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn a_pinned_authority_is_a_server_of_its_own_name() {
    for (common_name, names, right, wrong) in [
        ("other", &["localhost"][..], "localhost", "other"),
        ("other", &["127.0.0.1"], "127.0.0.1", "127.0.0.2"),
        ("other", &["::1"], "::1", "::2"),
        (
            "other",
            &["*.example.com"],
            "a.example.com",
            "a.b.example.com",
        ),
        ("localhost", &[], "localhost", "localhost.example"),
        ("Api.Example.com", &[], "api.example.COM", "example.com"),
        ("localhost", &[], "localhost.", "local"),
        ("*.example.com", &[], "a.example.com", "a.b.example.com"),
        ("*.example.com", &[], "b.example.com", "example.com"),
        ("127.0.0.1", &[], "127.0.0.1", "127.0.0.2"),
        ("::1", &[], "::1", "127.0.0.1"),
    ] {
        let server = from_the_documentation(common_name, names, |_| {})
            .der()
            .clone();
        let pinned = [server.clone()];
        let chain = [server];
        assert!(
            said(&pinned, &chain, right).is_ok(),
            "{common_name} {names:?} {right}"
        );
        let refused = said(&pinned, &chain, wrong);
        assert!(
            is(&refused, &CertificateError::NotValidForName),
            "{wrong}: {refused:?}"
        );
    }
}

#[test]
fn a_common_name_counts_neither_beside_a_san_nor_in_other_certificates() {
    let beside = from_the_documentation("localhost", &["example.com"], |_| {});
    let pinned = [beside.der().clone()];
    let refused = said(&pinned, &pinned, "localhost");
    assert!(
        is(&refused, &CertificateError::NotValidForName),
        "{refused:?}"
    );
    let authority = authority_of("ca", |_| {});
    let mut nameless = parameters(&[]);
    nameless
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    let server = under(&authority, nameless).der().clone();
    let refused = said(&[authority.der().clone()], &[server], "localhost");
    assert!(
        is(&refused, &CertificateError::NotValidForName),
        "{refused:?}"
    );
    // A star is no name of everything.
    for all in ["*", "*.", "*.com"] {
        let pinned = [from_the_documentation(all, &[], |_| {}).der().clone()];
        assert!(said(&pinned, &pinned, "example.com").is_err(), "{all}");
    }
}

#[test]
fn a_pinned_certificate_is_not_trusted_outside_its_time_or_purpose() {
    let now = OffsetDateTime::now_utc();
    let day = Days::days(1);
    for is_ca in [
        IsCa::Ca(BasicConstraints::Unconstrained),
        IsCa::ExplicitNoCa,
        IsCa::NoCa,
    ] {
        let server = from_the_documentation("x", &["localhost"], |it| {
            it.is_ca = is_ca;
            it.not_before = now - day;
            it.not_after = now + day;
        });
        let pinned = [server.der().clone()];
        let at = |later| said_at(&pinned, &pinned, "localhost", later);
        assert!(at(Days::ZERO).is_ok());
        assert!(is(&at(day + day), &CertificateError::Expired));
        assert!(is(&at(-day - day), &CertificateError::NotValidYet));
    }
    let for_clients = from_the_documentation("x", &["localhost"], |it| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let pinned = [for_clients.der().clone()];
    let refused = said(&pinned, &pinned, "localhost");
    assert!(
        is(&refused, &CertificateError::InvalidPurpose),
        "{refused:?}"
    );
}

/// Who has the key of one server could be all of them.
#[test]
fn what_a_pinned_server_issues_is_not_trusted() {
    let no_sign = |it: &mut CertificateParams| {
        it.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    };
    for pinned in [
        from_the_documentation("x", &["localhost"], |it| it.is_ca = IsCa::ExplicitNoCa),
        from_the_documentation("x", &["localhost"], |it| it.is_ca = IsCa::NoCa),
        from_the_documentation("x", &["localhost"], no_sign),
    ] {
        let other = issued(&pinned, &["other.example"]);
        let own = pinned.der().clone();
        let both = [other.clone(), own.clone()];
        for chain in [&both[..], &both[..1]] {
            let refused = said(std::slice::from_ref(&own), chain, "other.example");
            assert!(
                matches!(refused, Err(Error::InvalidCertificate(_))),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn a_certificate_like_the_pinned_one_is_not_it() {
    let pinned = from_the_documentation("localhost", &["localhost"], |_| {});
    let like_it = from_the_documentation("localhost", &["localhost"], |_| {});
    let refused = said(
        &[pinned.der().clone()],
        &[like_it.der().clone()],
        "localhost",
    );
    assert!(refused.is_err());
}

#[test]
fn a_servers_own_certificate_may_be_pinned_without_its_authority() {
    let authority = authority_of("ca", |_| {});
    let server = issued(&authority, &["localhost"]);
    assert!(
        said(
            std::slice::from_ref(&server),
            std::slice::from_ref(&server),
            "localhost"
        )
        .is_ok()
    );
    let other = issued(&authority, &["localhost"]);
    assert!(said(&[server], &[other], "localhost").is_err());
}

#[test]
fn names_are_judged_as_other_clients_judge_them() {
    let authority = authority_of("ca", |_| {});
    let trusted = [authority.der().clone()];
    for (names, host, accepted) in [
        (&["example.com"][..], "example.com", true),
        (&["example.com"], "EXAMPLE.com", true),
        (&["EXAMPLE.com"], "example.com", true),
        (&["example.com"], "example.com.", true),
        (&["example.com"], "www.example.com", false),
        (&["*.example.com"], "www.example.com", true),
        (&["*.example.com"], "example.com", false),
        (&["*.example.com"], "a.b.example.com", false),
        (&["my_service.example"], "my_service.example", true),
        (&["*.a.example"], "my_service.a.example", true),
        (&["xn--mnchen-3ya.example"], "xn--mnchen-3ya.example", true),
        (&["*.a.example"], "xn--mnchen-3ya.a.example", true),
        (&["localhost"], "localhost", true),
        (&["192.0.2.1"], "192.0.2.1", true),
        (&["192.0.2.1"], "192.0.2.2", false),
        (&["2001:db8::1"], "2001:db8:0::1", true),
        (&["a.test", "b.test", "192.0.2.1"], "b.test", true),
    ] {
        let server = issued(&authority, names);
        let found = said(&trusted, &[server], host);
        assert_eq!(found.is_ok(), accepted, "{names:?} {host}: {found:?}");
    }
}

#[test]
fn chains_may_be_long_but_not_have_gaps() {
    let root = authority_of("root", |_| {});
    let mut above = Vec::new();
    let mut issuer = root;
    let trusted = [issuer.der().clone()];
    for level in ["1", "2", "3", "4", "5"] {
        let mut next = parameters(&[]);
        next.distinguished_name.push(DnType::CommonName, level);
        next.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let next = under(&issuer, next);
        above.insert(0, next.der().clone());
        issuer = next;
    }
    let chain = [vec![issued(&issuer, &["localhost"])], above].concat();
    assert!(said(&trusted, &chain, "localhost").is_ok());
    // The order does not matter, nor a root at its end.
    let mut reversed = chain.clone();
    reversed[1..].reverse();
    assert!(
        said(
            &trusted,
            &[reversed, trusted.to_vec()].concat(),
            "localhost"
        )
        .is_ok()
    );
    let mut gap = chain;
    gap.remove(2);
    let refused = said(&trusted, &gap, "localhost");
    assert!(
        is(&refused, &CertificateError::UnknownIssuer),
        "{refused:?}"
    );
}

#[test]
fn an_expired_root_is_not_trusted_and_another_path_is_found() {
    let now = OffsetDateTime::now_utc();
    let expired = authority_of("old root", |it| it.not_after = now + Days::days(1));
    let server = issued(&expired, &["localhost"]);
    let trusted = [expired.der().clone()];
    let chain = [server];
    assert!(said(&trusted, &chain, "localhost").is_ok());
    let refused = said_at(&trusted, &chain, "localhost", Days::days(2));
    assert!(is(&refused, &CertificateError::Expired), "{refused:?}");
    // A new root, and the same key cross-signed by the old one, as with DST Root CA X3.
    let key = KeyPair::generate().unwrap();
    let mut new = parameters(&[]);
    new.distinguished_name.push(DnType::CommonName, "new root");
    new.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let cross_signed = new.signed_by(&key, &expired).unwrap().der().clone();
    let new = CertifiedIssuer::self_signed(new, key).unwrap();
    let chain = [issued(&new, &["localhost"]), cross_signed];
    let trusted = [expired.der().clone(), new.der().clone()];
    for days in [0, 2] {
        let found = said_at(&trusted, &chain, "localhost", Days::days(days));
        assert!(found.is_ok(), "{days}: {found:?}");
    }
}

#[test]
fn purposes_and_name_constraints_are_kept() {
    let authority = authority_of("ca", |it| {
        it.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".into())],
            excluded_subtrees: Vec::new(),
        });
    });
    let trusted = [authority.der().clone()];
    for (host, accepted) in [("a.example.com", true), ("a.example.org", false)] {
        let found = said(&trusted, &[issued(&authority, &[host])], host);
        assert_eq!(found.is_ok(), accepted, "{host}: {found:?}");
    }
    let authority = authority_of("ca", |_| {});
    let mut for_clients = parameters(&["localhost"]);
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let server = under(&authority, for_clients).der().clone();
    let refused = said(&[authority.der().clone()], &[server], "localhost");
    assert!(
        is(&refused, &CertificateError::InvalidPurpose),
        "{refused:?}"
    );
}

#[test]
fn roots_change_with_time_in_one_verifier() {
    let now = OffsetDateTime::now_utc();
    let day = Days::days(1);
    let authority = authority_of("ca", |it| {
        it.not_before = now - day;
        it.not_after = now + day;
    });
    let server = issued(&authority, &["localhost"]);
    let parsed = Certificate::parse(authority.der().clone()).unwrap();
    let verifier = Verifier::of_usable([parsed], &provider());
    let name = ServerName::try_from("localhost").unwrap();
    for (days, accepted) in [(0_i32, true), (-2, false), (0, true), (2, false), (0, true)] {
        let at = (now + day * days).unix_timestamp() as u64;
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at));
        let found = verifier.verify_server_cert(&server, &[], &name, &[], at);
        assert_eq!(found.is_ok(), accepted, "{days}");
    }
}

#[test]
fn what_is_damaged_is_named() {
    let good = authority_of("ca", |_| {});
    let der = good.der().to_vec();
    let cut = CertificateDer::from(der[..der.len() - 1].to_vec());
    let error = Trust::only(vec![good.der().clone(), cut]).unwrap_err();
    assert_eq!(error, TrustError::Damaged(2));
    let one_line = good.pem().replace(['\r', '\n'], "");
    assert_eq!(
        certificates(one_line.as_bytes()).unwrap(),
        [good.der().clone()]
    );
    assert!(matches!(certificates(b"").unwrap_err(), TrustError::Pem(_)));
}
