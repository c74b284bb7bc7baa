//! `jwtproxy.verifier_proxies[]`.

use super::address::{listen_address, on_all_addresses};
use super::file::read_named;
use envoy::verifier::{HttpUrl, KeyServer, VerifierProxy};
use jwt_core::config::filter::{PresharedKey, cache, key_name};
use jwt_core::config::reader::{self, Expected, Section};
use jwt_core::config::verifier;
use jwt_core::key::PublicKey;
use serde_json::Value;
use std::time::Duration;

pub(super) fn verifier_proxy(section: &mut Section<'_>) -> Option<VerifierProxy> {
    let listen = section
        .field("listen_addr")
        .or(on_all_addresses(8081), listen_address);
    let shutdown_timeout = section
        .field("shutdown_timeout")
        .or(Duration::from_secs(60), reader::duration);
    section
        .field("socket_permission")
        .or(0o755, reader::integer(0..=0o7777));
    for not_yet in ["key_file", "crt_file"] {
        section.field(not_yet).not_supported_yet();
    }
    section.field("verifier").section(|section| {
        let upstream = section.field("upstream").required(http_url);
        let rules = verifier::rules(section);
        let key_server = section.field("key_server").section(key_server);
        Some(VerifierProxy {
            listen: listen?,
            shutdown_timeout: shutdown_timeout?,
            upstream: upstream?,
            rules: rules?,
            key_server: key_server?,
        })
    })
}

fn key_server(section: &mut Section<'_>) -> Option<KeyServer> {
    let types = reader::one_of(&["keyregistry", "preshared"]);
    let kind = section.field("type").required(types);
    let options = section.field("options");
    match kind? {
        "keyregistry" => options.section(keyregistry),
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
    let pem = str::from_utf8(content).map_err(|error| error.to_string())?;
    let key = PublicKey::from_pem(pem).map_err(|error| error.to_string())?;
    Ok((key, pem.to_owned()))
}

fn http_url(value: &Value) -> Result<HttpUrl, Expected> {
    HttpUrl::parse(value.as_str().unwrap_or_default()).map_err(|error| error.to_string())
}
