//! The configuration of the filter: JSON, as Envoy hands it on from a StringValue or a Struct and
//! Istio from `pluginConfig`.

#[cfg(test)]
mod tests;

use super::duration;
use super::reader::{self, Expected, Mistakes, Section};
use super::verifier::{self, Rules};
use crate::authority::HostAndPort;
use crate::key::{KeyName, PublicKey};
use crate::seal::{MIN_SECRET_LENGTH, Secret};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A ready configuration; there is none that would not work.
#[derive(Clone, Debug)]
pub struct FilterConfig {
    /// What it is to do.
    pub rules: Rules,
    /// Where keys come from.
    pub key_server: KeyServer,
    /// What values in the memory that plugins share are sealed with.
    pub shared_data_secret: Option<Secret>,
}

/// Where keys come from.
#[derive(Clone, Debug)]
pub enum KeyServer {
    /// One key, given.
    Preshared(PresharedKey),
    /// A key registry.
    Keyregistry(Keyregistry),
    /// JWK Sets, one for each issuer.
    Jwks(Jwks),
}

/// The key server type `preshared`.
#[derive(Clone, Debug)]
pub struct PresharedKey {
    /// The only issuer and key id there is.
    pub name: KeyName,
    /// The key.
    pub key: Box<PublicKey>,
    /// The key as PEM.
    pub pem: String,
}

/// The key server type `keyregistry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyregistry {
    /// Where it is; the path is what stands before `/services/…` in its URLs.
    pub endpoint: Endpoint,
    /// How long answers are used.
    pub cache: Cache,
}

/// The key server type `jwks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwks {
    /// Each issuer (`iss`) with its JWK Set (RFC 7517 §5).
    pub issuers: Vec<(String, Endpoint)>,
    /// How long answers are used.
    pub cache: Cache,
}

/// Something that Envoy can call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The Envoy cluster that has the address.
    pub cluster: String,
    /// `Host` of the requests.
    pub authority: String,
    /// The path of the requests, or what they begin with.
    pub path: String,
    /// How long to wait for an answer.
    pub timeout: Duration,
}

/// How long fetched keys are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The longest time a key is used without asking again.
    pub duration: Duration,
    /// How much longer a key is used while the key server is down.
    pub stale_if_error: Duration,
}

impl FilterConfig {
    /// Reads the text of a JSON object.
    pub fn from_json(json: &[u8]) -> Result<Self, Mistakes> {
        if json.trim_ascii().is_empty() {
            let mut mistakes = Mistakes::default();
            mistakes.push(
                "",
                "the filter has no configuration; expected a JSON object",
            );
            return Err(mistakes);
        }
        let tree: Value = serde_json::from_slice(json).map_err(|error| {
            let mut mistakes = Mistakes::default();
            mistakes.push("", format!("the configuration is not JSON: {error}"));
            mistakes
        })?;
        Self::from_tree(&tree)
    }

    /// Reads a configuration that is taken apart already.
    pub fn from_tree(tree: &Value) -> Result<Self, Mistakes> {
        reader::read("", tree, Self::from_section)
    }

    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let rules = verifier::rules(section);
        let key_server = section.field("key_server").section(KeyServer::from_section);
        let shared_data_secret = shared_data_secret(section);
        Some(Self {
            rules: rules?,
            key_server: key_server?,
            shared_data_secret: shared_data_secret?,
        })
    }

    /// The JSON that [`FilterConfig::from_json`] reads.
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        verifier::write(&self.rules, &mut fields);
        fields.insert("key_server".to_owned(), self.key_server.to_json());
        if let Some(secret) = &self.shared_data_secret {
            fields.insert("shared_data_secret".to_owned(), secret.expose().into());
        }
        Value::Object(fields)
    }
}

/// The text is not shown, whatever is wrong with it.
fn shared_data_secret(section: &mut Section<'_>) -> Option<Option<Secret>> {
    let field = section.field("shared_data_secret");
    if !field.is_present() {
        return Some(None);
    }
    let secret = field.optional(|value| Ok(reader::text(value).ok().and_then(Secret::new)));
    if secret == Some(None) {
        section.mistake(format!(
            "shared_data_secret: expected a text of at least {MIN_SECRET_LENGTH} characters"
        ));
        return None;
    }
    secret
}

impl KeyServer {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let types = reader::one_of(&["keyregistry", "preshared", "jwks"]);
        let kind = section.field("type").required(types);
        let options = section.field("options");
        match kind? {
            "keyregistry" => options
                .section(Keyregistry::from_section)
                .map(Self::Keyregistry),
            "jwks" => options.section(Jwks::from_section).map(Self::Jwks),
            _ => options
                .section(PresharedKey::from_section)
                .map(Self::Preshared),
        }
    }

    fn to_json(&self) -> Value {
        let (kind, options) = match self {
            Self::Preshared(preshared) => ("preshared", preshared.to_json()),
            Self::Keyregistry(registry) => ("keyregistry", registry.to_json()),
            Self::Jwks(jwks) => ("jwks", jwks.to_json()),
        };
        json!({"type": kind, "options": options})
    }
}

impl PresharedKey {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let name = key_name(section);
        let pem = section.field("public_key").required(reader::text)?;
        match PublicKey::from_pem(&pem) {
            Ok(key) => Some(Self {
                name: name?,
                pem: key.to_pem(),
                key: Box::new(key),
            }),
            Err(error) => {
                section.mistake(format!("public_key: {error}"));
                None
            }
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "issuer": self.name.issuer(),
            "key_id": self.name.key_id(),
            "public_key": self.pem,
        })
    }
}

/// The keys `issuer` and `key_id` of a preshared key.
pub fn key_name(section: &mut Section<'_>) -> Option<KeyName> {
    let issuer = section.field("issuer").required(reader::text);
    let key_id = section.field("key_id").required(reader::text);
    KeyName::new(issuer?, key_id?)
        .map_err(|refusal| section.mistake(refusal.to_string()))
        .ok()
}

impl Keyregistry {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let endpoint = Endpoint::from_section(section, base_path);
        let cache = section.field("cache").section(cache);
        Some(Self {
            endpoint: endpoint?,
            cache: cache?,
        })
    }

    fn to_json(&self) -> Value {
        let mut options = self.endpoint.to_json();
        options.insert("cache".into(), self.cache.to_json());
        Value::Object(options)
    }
}

impl Jwks {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let cache = section.field("cache").section(cache);
        let field = section.field("issuers");
        if !field.is_present() {
            field.mistake("missing: this key is required");
        }
        let issuers = field.sections(|issuer| {
            let name = issuer.field("issuer").required(reader::text);
            let endpoint = Endpoint::from_section(issuer, path_and_query);
            Some((name?, endpoint?))
        });
        Some(Self {
            issuers: issuers?,
            cache: cache?,
        })
    }

    fn to_json(&self) -> Value {
        let issuers: Vec<_> = (self.issuers.iter())
            .map(|(issuer, endpoint)| {
                let mut fields = endpoint.to_json();
                fields.insert("issuer".into(), issuer.as_str().into());
                fields
            })
            .collect();
        json!({"issuers": issuers, "cache": self.cache.to_json()})
    }
}

impl Endpoint {
    fn from_section(
        section: &mut Section<'_>,
        path: impl FnOnce(&Value) -> Result<String, Expected>,
    ) -> Option<Self> {
        let cluster = section.field("cluster").required(reader::text);
        let authority = section.field("authority").required(authority);
        let path = section.field("path").or("/".into(), path);
        let timeout = section
            .field("timeout")
            .or(Duration::from_secs(5), positive_duration);
        Some(Self {
            cluster: cluster?,
            authority: authority?,
            path: path?,
            timeout: timeout?,
        })
    }

    fn to_json(&self) -> Map<String, Value> {
        let fields = [
            ("cluster", self.cluster.clone()),
            ("authority", self.authority.clone()),
            ("path", self.path.clone()),
            ("timeout", duration::format(self.timeout)),
        ];
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect()
    }
}

impl Cache {
    fn to_json(self) -> Value {
        json!({
            "duration": duration::format(self.duration),
            "stale_if_error": duration::format(self.stale_if_error),
        })
    }
}

/// The key `cache` of a key server, in the YAML file and here.
pub fn cache(section: &mut Section<'_>) -> Option<Cache> {
    const TEN_MINUTES: Duration = Duration::from_secs(600);
    // The cache is bounded by its size and purges as it goes; the original's key is taken and
    // needs nothing more.
    section
        .field("purge_interval")
        .or(Duration::ZERO, reader::duration);
    let duration = section.field("duration").or(TEN_MINUTES, reader::duration);
    let stale_if_error = section
        .field("stale_if_error")
        .or(TEN_MINUTES, reader::duration);
    Some(Cache {
        duration: duration?,
        stale_if_error: stale_if_error?,
    })
}

/// `Host` of a request.
fn authority(value: &Value) -> Result<String, Expected> {
    reader::text(value)
        .ok()
        .filter(|text| HostAndPort::parse(text).is_some())
        .ok_or_else(|| "a host, and its port if need be, such as registry:8888".into())
}

fn positive_duration(value: &Value) -> Result<Duration, Expected> {
    match reader::duration(value)? {
        Duration::ZERO => Err("a duration above zero".into()),
        duration => Ok(duration),
    }
}

/// What stands before the paths of requests.
fn base_path(value: &Value) -> Result<String, Expected> {
    let path = path_and_query(value)
        .ok()
        .filter(|path| !path.contains('?'));
    path.ok_or_else(|| "an absolute path such as / or /base".into())
}

/// The path of a request.
fn path_and_query(value: &Value) -> Result<String, Expected> {
    let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    reader::text(value)
        .ok()
        .filter(|text| text.starts_with('/') && printable(text) && !text.contains('#'))
        .ok_or_else(|| "an absolute path such as /keys.json, with its query".into())
}
