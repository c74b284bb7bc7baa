//! `jwtproxy.verifier_proxies[]`.

use super::address::{Scheme, listen_or_url};
use super::file::{read_named, read_secret_with_path, read_with_path};
use envoy::certificate::{certificate_key, check_pair, private_key};
use envoy::verifier::{CertificateFiles, HttpUrl, KeyServer, Upstream, UrlError, VerifierProxy};
use jwt_core::config::filter::{PresharedKey, cache, key_name};
use jwt_core::config::reader::{self, Expected, Section};
use jwt_core::config::verifier;
use jwt_core::key::PublicKey;
use serde_json::Value;
use std::time::Duration;
use tracing::{info, warn};

pub(super) fn verifier_proxy(section: &mut Section<'_>) -> Option<VerifierProxy> {
    let listen = listen_or_url(section, 8081);
    let certificate = certificate(section);
    let listen = listen.and_then(|(address, scheme)| {
        let has_certificate = certificate.as_ref().is_none_or(Option::is_some);
        fits(section, scheme, has_certificate).then_some(address)
    });
    let shutdown_timeout = section
        .field("shutdown_timeout")
        .or(Duration::from_secs(60), reader::duration);
    section.field("verifier").section(|section| {
        let upstream = section.field("upstream").required(upstream);
        let rules = verifier::rules(section);
        cookie_path(section);
        if let Some(rules) = &rules
            && rules.access.trusted_hops == 0
        {
            info!(
                "verifier_proxies: what clients say in X-Forwarded-*, Forwarded and X-Real-IP does \
                 not reach the upstream; if a proxy stands in front, set trusted_hops"
            );
        }
        let key_server = section.field("key_server").section(key_server);
        Some(VerifierProxy {
            listen: listen?,
            certificate: certificate?,
            shutdown_timeout: shutdown_timeout?,
            upstream: upstream?,
            rules: rules?,
            key_server: key_server?,
        })
    })
}

/// Whether what the URL in `listen_addr` says of TLS is possible.
fn fits(section: &Section<'_>, scheme: Option<Scheme>, has_certificate: bool) -> bool {
    match (scheme, has_certificate) {
        (Some(Scheme::Https), false) => {
            section.mistake("\"listen_addr\": https takes \"key_file\" and \"crt_file\"");
            return false;
        }
        (Some(Scheme::Http), true) => warn!(
            "verifier_proxies: listen_addr says http, but key_file and crt_file are given: clients \
             must use https"
        ),
        _ => {}
    }
    true
}

/// A key of the fork, in which the verifier set cookies.
fn cookie_path(section: &mut Section<'_>) {
    let field = section.field("cookie_path");
    if field.is_present()
        && field
            .optional(|value| value.as_str().ok_or("a path".into()).map(drop))
            .is_some()
    {
        warn!(
            "verifier_proxies: cookie_path has no effect: this verifier sets no cookies, it only \
             reads access_token, whose path the login page decides"
        );
    }
}

/// The keys `key_file` and `crt_file`: both, or TLS is not terminated here.
fn certificate(section: &mut Section<'_>) -> Option<Option<CertificateFiles>> {
    let (key, certificate) = (section.field("key_file"), section.field("crt_file"));
    match (key.is_present(), certificate.is_present()) {
        (false, false) => return Some(None),
        (true, false) => certificate.mistake("missing: \"key_file\" is of no use without it"),
        (false, true) => key.mistake("missing: \"crt_file\" is of no use without it"),
        (true, true) => {}
    }
    let key = key.optional(|path| read_secret_with_path(path, private_key));
    let certificate = certificate.optional(|path| read_with_path(path, certificate_key));
    let ((key_file, key), (certificate_file, certificate)) = (key?, certificate?);
    if let Err(error) = check_pair(&certificate, &key) {
        section.mistake(format!("\"key_file\" and \"crt_file\": {error}"));
        return None;
    }
    let files = CertificateFiles::new(&certificate_file, &key_file);
    let files = files.map_err(|error| section.mistake(format!("\"key_file\": {error}")));
    files.ok().map(Some)
}

fn key_server(section: &mut Section<'_>) -> Option<KeyServer> {
    let types = reader::one_of(&["keyregistry", "preshared", "jwks"]);
    let kind = section.field("type").required(types);
    let options = section.field("options");
    match kind? {
        "keyregistry" => options.section(keyregistry),
        "jwks" => options.section(jwks),
        _ => options.section(preshared).map(KeyServer::Preshared),
    }
}

fn keyregistry(section: &mut Section<'_>) -> Option<KeyServer> {
    let url = section.field("registry").required(http_url);
    let cache = section.field("cache").section(cache);
    Some(KeyServer::Keyregistry {
        url: url?,
        cache: cache?,
    })
}

fn jwks(section: &mut Section<'_>) -> Option<KeyServer> {
    let field = section.field("issuers");
    if !field.is_present() {
        field.mistake("missing: this key is required");
    }
    let issuers = field.sections(|section| {
        let issuer = section.field("issuer").required(reader::text);
        let url = section.field("url").required(resource_url);
        Some((issuer?, url?))
    });
    let cache = section.field("cache").section(cache);
    Some(KeyServer::Jwks {
        issuers: issuers?,
        cache: cache?,
    })
}

fn preshared(section: &mut Section<'_>) -> Option<PresharedKey> {
    let name = key_name(section);
    let key = section
        .field("public_key_path")
        .required(|path| read_named(path, public_key));
    let (key, pem) = key?;
    Some(PresharedKey {
        name: name?,
        key: Box::new(key),
        pem,
    })
}

fn public_key(content: &[u8]) -> Result<(PublicKey, String), String> {
    let key = PublicKey::from_pem(content).map_err(|error| error.to_string())?;
    // The filter gets the key alone, not what else is in the file.
    let pem = key.to_pem();
    Ok((key, pem))
}

fn upstream(value: &Value) -> Result<Upstream, Expected> {
    let upstream = Upstream::parse(value.as_str().unwrap_or_default());
    let upstream = upstream.map_err(|error| match error {
        UrlError::Invalid => format!("{error} or unix:/path"),
        _ => error.to_string(),
    })?;
    if let Upstream::Http(url) = &upstream {
        check_verifiable(url)?;
    }
    Ok(upstream)
}

fn http_url(value: &Value) -> Result<HttpUrl, Expected> {
    callable(HttpUrl::parse(value.as_str().unwrap_or_default()))
}

fn resource_url(value: &Value) -> Result<HttpUrl, Expected> {
    callable(HttpUrl::parse_resource(value.as_str().unwrap_or_default()))
}

fn callable(url: Result<HttpUrl, UrlError>) -> Result<HttpUrl, Expected> {
    let url = url.map_err(|error| error.to_string())?;
    check_verifiable(&url)?;
    Ok(url)
}

/// An https server's certificate is always verified, which takes roots.
fn check_verifiable(url: &HttpUrl) -> Result<(), Expected> {
    if url.is_secure() && envoy::ca_bundle().is_none() {
        return Err(
            "a server that can be verified, but the certificates this machine trusts \
                    were not found: install them (ca-certificates), or set SSL_CERT_FILE"
                .into(),
        );
    }
    Ok(())
}
