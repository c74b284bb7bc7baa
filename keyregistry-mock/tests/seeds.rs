//! What a registry starts with, and what is said of seeds that are wrong.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the helpers beside them"
)]

use jwt_core::time::Timestamp;
use keyregistry_mock::{Error, Lookup, Registry, seed};
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs8::{EncodePublicKey as _, LineEnding};
use rsa::{BoxedUint, PublicKey};
use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;

/// Keys on P-256 and Ed25519, as openssl writes them.
const EC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+kkNomKssB+5I3eWuD9pFuOg3O8y
NSFa8imnt8GoYt6kLE2IjB5WS1Qp6yV1mDzJy8ZEF/vyg2z4ousgmaTYCw==
-----END PUBLIC KEY-----
";
const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAh04UjVWVNScl/QgFHvWCbzWcFDDSpxETPR9Qi/WlzTE=
-----END PUBLIC KEY-----
";

/// Seed files and key flags in a folder of their own.
struct Seeds {
    folder: TempDir,
    files: Vec<PathBuf>,
    key_flags: Vec<String>,
}

impl Seeds {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            files: Vec::new(),
            key_flags: Vec::new(),
        }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn file(&mut self, name: &str, text: &str) -> &mut Self {
        let path = self.write(name, text);
        self.files.push(path);
        self
    }

    /// A key flag whose fields are these and a file with this text.
    fn key(&mut self, fields: &str, name: &str, text: &str) -> &mut Self {
        let path = self.write(name, text);
        self.key_flags
            .push(format!("{fields},file={}", path.display()));
        self
    }

    fn load(&self) -> Result<Registry, Error> {
        let keys = seed::load(&self.files, &self.key_flags)?;
        let registry = Registry::in_memory()?;
        registry.put_all(keys)?;
        Ok(registry)
    }

    /// The mistakes, their folder left out.
    fn mistakes(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        match self.load() {
            Err(Error::Seeds(mistakes)) => mistakes
                .iter()
                .map(|mistake| mistake.to_string().replace(&folder, ""))
                .collect(),
            other => panic!("expected mistakes in the seeds: {other:?}"),
        }
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds).unwrap()
}

fn jwk() -> Value {
    json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})
}

fn jwk_with_kid(kid: &str) -> Value {
    json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": kid})
}

/// The ids of the keys that are served, which must be those inside the keys.
fn kids(registry: &Registry, service: &str) -> Vec<String> {
    let keys = registry.keys(service, at(0));
    keys.iter().map(|key| key.kid().unwrap().into()).collect()
}

/// A key whose modulus is this byte 256 times.
fn rsa_key(byte: u8) -> PublicKey {
    let modulus = BoxedUint::from_be_slice_vartime(&[byte; 256]);
    PublicKey::new(modulus, BoxedUint::from(65537_u32)).unwrap()
}

#[test]
fn nothing_to_load_is_an_empty_registry() {
    assert_eq!(kids(&Seeds::new().load().unwrap(), "svc"), [""; 0]);
}

#[test]
fn a_seed_file_describes_services() {
    let seed = json!({"services": {
        "https://example.com/a": {"keys": [
            {"kid": "named", "jwk": jwk()},
            {"jwk": jwk_with_kid("own"), "state": "approved", "expires": null},
            {"kid": "both", "jwk": jwk_with_kid("both"), "expires": 100},
            {"kid": "new", "jwk": jwk(), "state": "pending"},
        ]},
        "empty": {"keys": []},
    }});
    let registry = Seeds::new()
        .file("a.json", &seed.to_string())
        .load()
        .unwrap();
    let service = "https://example.com/a";
    assert_eq!(kids(&registry, service), ["both", "named", "own"]);
    assert_eq!(registry.find(service, "both", at(100)), Lookup::Expired);
    assert_eq!(registry.find(service, "new", at(0)), Lookup::Pending);
}

#[test]
fn several_files_and_flags_may_add_to_one_service() {
    let seed = |kid| json!({"services": {"svc": {"keys": [{"kid": kid, "jwk": jwk()}]}}});
    let registry = Seeds::new()
        .file("a.json", &seed("a").to_string())
        .file("b.json", &seed("b").to_string())
        .key("service=svc,kid=c", "c.jwk", &jwk().to_string())
        .load()
        .unwrap();
    assert_eq!(kids(&registry, "svc"), ["a", "b", "c"]);
}

#[test]
fn a_key_file_is_a_jwk_a_jwk_set_or_pem() {
    let set = json!({"keys": [jwk_with_kid("one"), jwk_with_kid("two")]});
    let pkcs8 = rsa_key(0xf1).to_public_key_pem(LineEnding::LF).unwrap();
    let commented = format!("# ours\n{pkcs8}\n# until May\n");
    let pkcs1 = rsa_key(0xf3).to_pkcs1_pem(LineEnding::CRLF).unwrap();
    let registry = Seeds::new()
        .key("service=jwk,kid=k", "k.jwk", &jwk().to_string())
        .key("service=set", "set.jwk", &set.to_string())
        .key(
            "service=one-of-one,kid=k",
            "one.jwk",
            &json!({"keys": [jwk()]}).to_string(),
        )
        .key("service=pem,kid=pkcs8", "pkcs8.pem", &commented)
        .key("service=pem,kid=pkcs1", "pkcs1.pem", &pkcs1)
        .key("service=pem,kid=ec", "ec.pem", EC)
        .key("service=pem,kid=ed25519", "ed25519.pem", ED25519)
        .load()
        .unwrap();
    assert_eq!(kids(&registry, "jwk"), ["k"]);
    assert_eq!(kids(&registry, "set"), ["one", "two"]);
    assert_eq!(kids(&registry, "one-of-one"), ["k"]);
    assert_eq!(kids(&registry, "pem"), ["ec", "ed25519", "pkcs1", "pkcs8"]);
}

#[test]
fn a_key_without_an_id_gets_its_thumbprint() {
    let key = rsa_key(0xf1);
    let pem = |key: &PublicKey| key.to_public_key_pem(LineEnding::LF).unwrap();
    let registry = Seeds::new()
        .key("service=pem", "a.pem", &pem(&key))
        .key(
            "service=pkcs1",
            "b.pem",
            &key.to_pkcs1_pem(LineEnding::LF).unwrap(),
        )
        .load()
        .unwrap();
    let [kid] = &kids(&registry, "pem")[..] else {
        panic!("expected one key");
    };
    assert_eq!(kid.len(), 43, "a SHA-256 in base64url");
    assert_eq!(kids(&registry, "pkcs1"), [kid.as_str()]);
    assert_eq!(registry.keys("pem", at(0))[0].thumbprint(), *kid);
}

#[test]
fn all_mistakes_are_reported_in_one_run() {
    let seed = json!({"services": {
        "": {"keys": []},
        "a": {"keys": [
            {"kid": 1, "jwk": "c2VjcmV0", "state": "aproved", "expires": 1.5, "exp": 0},
            {"kid": ""},
            {"kid": "x", "jwk": jwk_with_kid("y"), "state": null, "expires": -1},
            7,
        ]},
        "b": {"keys": {}},
        "c": [],
        "d": {},
    }, "service": 0});
    let mut seeds = Seeds::new();
    seeds
        .file("bad.json", &seed.to_string())
        .file("no.json", "services: {}")
        .file("list.json", "[]")
        .key("service=a", "oct.jwk", r#"{"kty": "oct", "k": "c2VjcmV0"}"#)
        .key("service=a", "text", "c2VjcmV0");
    seeds.files.push(seeds.folder.path().join("absent.json"));
    seeds.key_flags.push("a=key.pem".into());

    let expected = [
        r#"bad.json: unknown member "service"; expected services"#,
        r#"bad.json: services[""]: an empty service name; expected the issuer"#,
        r#"bad.json: services["a"].keys[0]: unknown member "exp"; expected kid, jwk, state, expires"#,
        r#"bad.json: services["a"].keys[0].kid: a number; expected a string"#,
        r#"bad.json: services["a"].keys[0].state: "aproved"; expected "approved" or "pending""#,
        r#"bad.json: services["a"].keys[0].expires: 1.5; expected whole seconds"#,
        r#"bad.json: services["a"].keys[0].jwk: no JSON object; expected a public JWK"#,
        r#"bad.json: services["a"].keys[1]: no member "jwk"; expected it"#,
        r#"bad.json: services["a"].keys[2].state: null; expected "approved""#,
        r#"bad.json: services["a"].keys[2].expires: -1; expected whole seconds"#,
        r#"bad.json: services["a"].keys[3]: a number; expected an object with kid, jwk"#,
        r#"bad.json: services["b"].keys: an object; expected a list of keys"#,
        r#"bad.json: services["c"]: a list; expected an object with keys"#,
        r#"bad.json: services["d"]: no member "keys"; expected it"#,
        r#"no.json: no JSON: expected value at line 1 column 1; expected a JSON file"#,
        r#"list.json: a list; expected an object with services"#,
        r#"absent.json: cannot be read: No such file"#,
        r#"oct.jwk: a private key (it has k), which a registry never holds; expected a public JWK"#,
        r#"text: neither PEM nor JSON: expected value at line 1 column 1; expected a file with a JWK"#,
        r#"--key "a=key.pem": unknown field "a"; expected service=NAME"#,
    ];
    let mistakes = seeds.mistakes();
    for (mistake, expected) in mistakes.iter().zip(expected) {
        assert!(mistake.starts_with(expected), "{mistake}\n{expected}");
        assert!(!mistake.contains("c2VjcmV0"), "{mistake}");
    }
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
}

#[test]
fn an_id_that_is_not_the_keys_own_is_a_mistake() {
    let mistakes = Seeds::new()
        .key("service=a,kid=x", "y.jwk", &jwk_with_kid("y").to_string())
        .key("service=a", "z.jwk", &jwk_with_kid("").to_string())
        .mistakes();
    let expected = r#"y.jwk: key id "x" for a JWK whose own "kid" is "y"; expected the same in"#;
    assert!(mistakes[0].starts_with(expected), "{mistakes:#?}");
    assert_eq!(
        mistakes[1],
        "z.jwk: an empty key id; expected at least one character"
    );
    assert_eq!(mistakes.len(), 2);
}

#[test]
fn a_key_that_comes_twice_is_a_mistake_that_names_both_places() {
    let seed = json!({"services": {"a": {"keys": [{"kid": "k", "jwk": jwk()}]}}});
    let mistakes = Seeds::new()
        .file("a.json", &seed.to_string())
        .key("service=a,kid=k", "k.jwk", &jwk().to_string())
        .mistakes();
    let expected = r#"k.jwk: key "k" of "a" again; expected each key once: the first is at"#;
    assert!(mistakes[0].starts_with(expected), "{mistakes:#?}");
    assert!(mistakes[0].ends_with(r#"a.json: services["a"].keys[0]"#));
}

#[test]
fn an_id_for_a_whole_jwk_set_is_a_mistake() {
    let two = json!({"keys": [jwk_with_kid("one"), jwk_with_kid("two")]});
    let mistakes = Seeds::new()
        .key("service=a,kid=k", "two.jwk", &two.to_string())
        .key("service=a", "none.jwk", r#"{"keys": []}"#)
        .key(
            "service=a",
            "bad.jwk",
            r#"{"keys": [{}, {"d": "c2VjcmV0"}]}"#,
        )
        .mistakes();
    let expected = [
        "two.jwk: a JWK Set of 2 keys; expected at least one key, and exactly one where kid=",
        "none.jwk: a JWK Set of 0 keys; expected at least one key",
        "bad.jwk: keys[0]: no string \"kty\"; expected a public JWK",
        "bad.jwk: keys[1]: a private key (it has d), which a registry never holds; expected",
    ];
    for (mistake, expected) in mistakes.iter().zip(expected) {
        assert!(mistake.starts_with(expected), "{mistake}");
    }
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
}

#[test]
fn pem_that_is_no_public_key_is_a_mistake() {
    let cut = "-----BEGIN PUBLIC KEY-----\nc2VjcmV0\n-----END PUBLIC KEY-----\n";
    let private = "-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n-----END RSA PRIVATE KEY-----\n";
    // The point is not on P-256.
    let ec = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n\
        -----END PUBLIC KEY-----\n";
    let mistakes = Seeds::new()
        .key("service=a", "cut.pem", cut)
        .key("service=a", "private.pem", private)
        .key("service=a", "ec.pem", ec)
        .mistakes();
    for (mistake, file) in mistakes
        .iter()
        .zip(["cut.pem: ", "private.pem: ", "ec.pem: "])
    {
        assert!(mistake.starts_with(file), "{mistake}");
        assert!(
            mistake.contains("; expected a public key as PEM"),
            "{mistake}"
        );
        assert!(!mistake.contains("c2VjcmV0"), "{mistake}");
    }
    assert!(mistakes[1].contains("a private key, which a registry never holds"));
    assert_eq!(mistakes.len(), 3, "{mistakes:#?}");
}
