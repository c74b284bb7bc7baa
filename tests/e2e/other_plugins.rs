use jwt_core::testing::TestSigner;
use jwtproxy_tests::client::{self, Answer};
use jwtproxy_tests::own_envoy::OwnEnvoy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, good_claims};
use jwtproxy_tests::upstream::Upstream;
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;
use tempfile::TempDir;

/// Where answers about keys that were never had are shared; it changes with their format.
const PLACES: &str = "jwtproxy.keys.v3.stranger.";
const SLOTS: usize = 4096;
/// Of one key in the memory of the plugin: its length and its bytes.
const STEP: usize = 64;

/// Bytes as WAT writes them.
fn in_wat(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\{byte:02x}");
        text
    })
}

/// A plugin that writes this value to each place, at each request.
fn planter(value: &str) -> Vec<u8> {
    let mut keys = Vec::new();
    for slot in 0..SLOTS {
        let key = format!("{PLACES}{slot}");
        keys.push(u8::try_from(key.len()).unwrap());
        keys.extend(key.bytes());
        keys.resize((slot + 1) * STEP, 0);
    }
    let (first, end) = (8192, 8192 + SLOTS * STEP);
    let module = format!(
        r#"(module
  (import "env" "proxy_set_shared_data"
    (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16)
  (data (i32.const 1024) "{value_bytes}")
  (data (i32.const {first}) "{key_bytes}")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) i32.const {heap})
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) i32.const 1)
  (func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 1)
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (local $at i32)
    i32.const {first}
    local.set $at
    (loop $next
      (drop (call $set
        (i32.add (local.get $at) (i32.const 1))
        (i32.load8_u (local.get $at))
        (i32.const 1024) (i32.const {length}) (i32.const 0)))
      (local.set $at (i32.add (local.get $at) (i32.const {STEP})))
      (br_if $next (i32.lt_u (local.get $at) (i32.const {end}))))
    i32.const 0))"#,
        value_bytes = in_wat(value.as_bytes()),
        key_bytes = in_wat(&keys),
        heap = end + 4096,
        length = value.len(),
    );
    wat::parse_str(module).unwrap()
}

/// An Envoy in which such a plugin with the filter's `vm_id` stands before the filter.
async fn envoy_with(
    upstream: &Upstream,
    registry: &TestRegistry,
    value: &str,
    secret: &str,
    folder: &TempDir,
) -> OwnEnvoy {
    let module = folder.path().join("planter.wasm");
    std::fs::write(&module, planter(value)).unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/examples");
    let example = std::fs::read_to_string(examples.join("http_filters.yaml")).unwrap();
    let plugin = format!(
        r#"          http_filters:
          - name: planter
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: planter
                vm_config:
                  vm_id: jwtproxy
                  runtime: envoy.wasm.runtime.v8
                  code: {{local: {{filename: "{}"}}}}
"#,
        module.display()
    );
    let change = |text: String| {
        let text = text.replace("          http_filters:\n", &plugin);
        let audience = "audience: https://api.example\n";
        assert!(text.contains(audience) && text.contains("planter"));
        text.replace(
            audience,
            &format!("{audience}                    {secret}\n"),
        )
    };
    OwnEnvoy::start_changed(&example, upstream.address(), registry.address(), change).await
}

async fn get(envoy: &OwnEnvoy, token: &str) -> Answer {
    client::get(envoy.address(), "/", Some(&format!("Bearer {token}"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_another_plugin_plants_is_used_only_where_nothing_is_sealed() {
    let jwk = TestSigner::stranger().public_key().to_jwk("evil");
    let in_an_hour = (tokens::now() + 3600) * 1000;
    let value = json!({
        "key_server": "600000 ms keyregistry registry.example:8888 /",
        "issuer": "svc",
        "key_id": "evil",
        "since": 0,
        "expires": in_an_hour,
        "answer": {"jwks": [jwk]},
    });
    let header = json!({"alg": "RS256", "kid": "evil"});
    let evil = TestSigner::stranger().sign_with(&header, &good_claims());
    let sealed = format!("shared_data_secret: {}", "0123456789abcdef".repeat(2));
    // The first shows that the attack is one.
    for (secret, status) in [("", 200), (sealed.as_str(), 403)] {
        let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
        let folder = tempfile::tempdir().unwrap();
        let envoy = envoy_with(&upstream, &registry, &value.to_string(), secret, &folder).await;
        let answer = get(&envoy, &evil).await;
        assert_eq!(answer.code(), status, "{secret:?}: {answer:?}");
        let answer = get(&envoy, &tokens::good()).await;
        assert_eq!(answer.code(), 200, "{secret:?}: {answer:?}");
    }
}
