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
        "key_server.options: public_key: found no PEM, expected PEM",
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
fn two_claims_do_not_share_a_header_field() {
    let of = |names: &[&str], payload: Option<&str>| {
        let mut tree = keyregistry();
        let claims = names
            .iter()
            .map(|name| json!({"claim_name": "sub", "header_name": name}));
        tree["claim_to_headers"] = claims.collect();
        tree["forward_payload_header"] = json!(payload);
        tree
    };
    for (names, payload) in [
        (&["x-a", "x-b", "X-A"][..], None),
        (&["x-user-id", "x_user_id"], None),
        (&["x-claims"], Some("X_Claims")),
    ] {
        let text = mistakes(&of(names, payload));
        assert!(text.contains("found two fields named"), "{text}");
    }
    assert!(read(&of(&["x-a", "x-b"], Some("x-c"))).is_ok());
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
