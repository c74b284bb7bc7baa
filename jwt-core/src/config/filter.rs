//! The configuration of the filter: JSON, as Envoy hands it on from a StringValue or a Struct and
//! Istio from `pluginConfig`.

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
    /// The key as configured.
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
                key: Box::new(key),
                pem,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::verifier::NonceStorage;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn keyregistry() -> Value {
        json!({
            "audience": "https://api",
            "key_server": {
                "type": "keyregistry",
                "options": {"cluster": "registry", "authority": "registry:8888"},
            },
        })
    }

    fn read(tree: &Value) -> Result<FilterConfig, Mistakes> {
        FilterConfig::from_json(tree.to_string().as_bytes())
    }

    fn mistakes(tree: &Value) -> String {
        read(tree).unwrap_err().to_string()
    }

    #[test]
    fn a_short_configuration_has_the_defaults_of_the_contract() {
        let config = read(&keyregistry()).unwrap();
        assert_eq!(config.rules.policy.max_skew, Duration::from_secs(60));
        assert_eq!(config.rules.policy.max_ttl, Duration::from_secs(300));
        assert_eq!(
            config.rules.nonce_storage,
            NonceStorage::Local {
                capacity: 1_000_000,
                restart_guard: false
            }
        );
        let KeyServer::Keyregistry(registry) = config.key_server else {
            panic!()
        };
        assert_eq!(registry.endpoint.path, "/");
        assert_eq!(registry.cache.duration, Duration::from_secs(600));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut tree = keyregistry();
        tree["claims_verifiers"] = json!([{"type": "static", "options": {"role": "admin"}}]);
        tree["nonce_storage"] = json!({"type": "void"});
        tree["max_ttl"] = json!("90s");
        tree["excludes"] = json!(["/healthz", "/static/.*"]);
        tree["algorithms"] = json!(["ES256", "EdDSA"]);
        tree["forward_unverified"] = json!(false);
        tree["auth_redirect_url"] = json!("https://login.example/");
        tree["cookies_enabled"] = json!(true);
        tree["forward"] = json!(false);
        tree["claim_to_headers"] = json!([{"claim_name": "sub", "header_name": "X-Sub"}]);
        tree["shared_data_secret"] = json!("0123456789abcdef0123456789abcdef");
        let written = read(&tree).unwrap().to_json();
        assert_eq!(read(&written).unwrap().to_json(), written);
        assert_eq!(written["max_ttl"], "90s");
        assert_eq!(written["algorithms"], json!(["ES256", "EdDSA"]));
        assert_eq!(written["forward_unverified"], false);
        assert_eq!(written["excludes"][1], "/static/.*");
        assert_eq!(written["claim_to_headers"][0]["header_name"], "x-sub");
        assert_eq!(written["claims_verifiers"][0]["options"]["role"], "admin");
    }

    #[test]
    fn mistakes_are_named_all_at_once() {
        let text = mistakes(&json!({
            "audiance": "https://api",
            "max_ttl": "5 minutes",
            "key_server": {"type": "preshared", "options": {"issuer": "svc", "public_key": "x"}},
            "nonce_storage": {"type": "redis"},
            "claims_verifiers": [{"type": "static"}],
            "algorithms": ["RS256", "HS256"],
            "excludes": ["healthz", "/(a{1,100}){1,100}"],
            "auth_redirect_url": "/login",
            "claim_to_headers": [{"claim_name": "sub", "header_name": "Host"}],
        }));
        for part in [
            "audience: missing",
            "audiance: unknown key; did you mean \"audience\"?",
            "max_ttl: found \"5 minutes\"",
            "key_server.options.key_id: missing",
            "key_server.options: public_key: expected a PEM block",
            "nonce_storage.type: found \"redis\", expected one of local, void",
            "algorithms[1]: found \"HS256\", expected an algorithm, such as RS256, RS384,",
            "excludes[0]: found \"healthz\", expected a path",
            "excludes[1]: found \"/(a{1,100}){1,100}\", expected a regular expression that takes",
            "auth_redirect_url: found \"/login\", expected an http or https URL",
            "claim_to_headers[0].header_name: found \"Host\"",
            "claims_verifiers[0]: expected \"options\" with at least one claim",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn no_list_of_algorithms_is_every_one_and_an_empty_list_is_a_mistake() {
        let mut tree = keyregistry();
        let algorithms = read(&tree).unwrap().rules.policy.algorithms;
        assert_eq!(algorithms, crate::algorithm::Algorithm::ALL);
        tree["algorithms"] = json!([]);
        assert!(mistakes(&tree).contains("\"algorithms\" with at least one"));
    }

    #[test]
    fn hosts_and_ports_are_those_of_urls() {
        for authority in [
            "registry:+8888",
            "[0:0]",
            "a\r\nx-y: z",
            "user@registry",
            "a/b",
        ] {
            let mut tree = keyregistry();
            tree["key_server"]["options"]["authority"] = json!(authority);
            let text = mistakes(&tree);
            assert!(
                text.contains("key_server.options.authority: found"),
                "{text}"
            );
        }
        for url in ["http://", "http://[0:0]/", "https://a:+80/", "https://[::1"] {
            let mut tree = keyregistry();
            tree["auth_redirect_url"] = json!(url);
            assert!(
                mistakes(&tree).contains("auth_redirect_url: found"),
                "{url}"
            );
        }
    }

    #[test]
    fn one_mistake_does_not_make_others() {
        let mut tree = keyregistry();
        tree["nonce_storage"] = json!({
            "type": "local",
            "options": {"purge_interval": "soon", "capacity": 5, "restart_guard": true},
        });
        tree["claims_verifiers"] = json!([{"type": "lua", "options": {"role": "admin"}}]);
        let mistakes = read(&tree).unwrap_err();
        let paths: Vec<_> = mistakes
            .iter()
            .map(|mistake| mistake.path.as_str())
            .collect();
        let expected = [
            "claims_verifiers[0].type",
            "nonce_storage.options.purge_interval",
        ];
        assert_eq!(paths, expected, "{mistakes}");
    }

    #[test]
    fn sets_of_several_issuers_are_read_and_written() {
        let mut tree = keyregistry();
        tree["key_server"] = json!({
            "type": "jwks",
            "options": {
                "issuers": [
                    {"issuer": "https://a", "cluster": "a", "authority": "a", "path": "/jwks"},
                    {"issuer": "https://b", "cluster": "b", "authority": "b:1"},
                ],
                "cache": {"duration": "1m", "stale_if_error": "0s"},
            },
        });
        let config = read(&tree).unwrap();
        let KeyServer::Jwks(jwks) = &config.key_server else {
            panic!()
        };
        assert_eq!(jwks.issuers[0].1.path, "/jwks");
        assert_eq!(jwks.cache.stale_if_error, Duration::ZERO);
        assert_eq!(read(&config.to_json()).unwrap().to_json(), config.to_json());
    }

    #[test]
    fn a_secret_that_is_too_short_is_a_mistake_that_does_not_show_it() {
        let mut tree = keyregistry();
        for secret in [json!("too short"), json!(""), json!(["a"])] {
            tree["shared_data_secret"] = secret;
            let text = mistakes(&tree);
            assert!(text.contains("at least 32 characters"), "{text}");
            assert!(!text.contains("too short"), "{text}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for json in ["", "  ", "{", "[]", "\"text\"", "null"] {
            assert!(
                FilterConfig::from_json(json.as_bytes()).is_err(),
                "{json:?}"
            );
        }
    }
}
