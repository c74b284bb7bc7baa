//! TLS on both sides: the certificate that a verifier shows, and those that it is shown.

use crate::certificate::{CertificateFiles, ForEnvoy};
use crate::verifier::HttpUrl;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::Path;

/// The transport socket of a listener that terminates TLS.
pub(super) fn downstream(index: usize, secrets: &Path) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificate_sds_secret_configs": [{
                    "name": secret_name(index),
                    "sds_config": {
                        "resource_api_version": "V3",
                        "path_config_source": {"path": secrets.join(secret_file_name(index))},
                    },
                }],
            },
        },
    })
}

/// The name of the file that describes the secret of a listener.
pub(super) fn secret_file_name(index: usize) -> String {
    format!("{}.json", secret_name(index))
}

/// The description: it names the user's own files, so that there is no second copy of a key, unless
/// Envoy could not read them as they are.
pub(super) fn secret(
    index: usize,
    certificate: &CertificateFiles,
    for_envoy: &ForEnvoy,
    secrets: &Path,
) -> Value {
    let source = |path: &Path, rewritten: &Option<String>| match rewritten {
        Some(text) => json!({"inline_string": text}),
        None => json!({"filename": path}),
    };
    json!({"resources": [{
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": secret_name(index),
        "tls_certificate": {
            "certificate_chain": source(certificate.certificate(), &for_envoy.certificates),
            "private_key": source(certificate.key(), &for_envoy.key),
            "watched_directory": {"path": secrets},
        },
    }]})
}

fn secret_name(index: usize) -> String {
    format!("certificate_{index}")
}

/// The transport socket of a cluster whose server must show a certificate for its name.
pub(super) fn upstream(url: &HttpUrl, alpn: &str, ca_bundle: &Path) -> Value {
    let ip = url.host().parse::<IpAddr>().ok();
    let (san_type, san) = match ip {
        Some(ip) => ("IP_ADDRESS", ip.to_string()),
        None => ("DNS", url.host().to_ascii_lowercase()),
    };
    let context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        // RFC 6066, section 3: addresses are not permitted in "HostName".
        "sni": ip.is_none().then_some(&san),
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": [alpn],
            "validation_context": {
                "trusted_ca": {"filename": ca_bundle},
                "match_typed_subject_alt_names": [{
                    "san_type": san_type,
                    "matcher": {"exact": san},
                }],
            },
        },
    });
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}
