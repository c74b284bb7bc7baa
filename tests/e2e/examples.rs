use jwt_core::testing::TestSigner;
use jwtproxy_tests::client::{self, Answer};
use jwtproxy_tests::own_envoy::OwnEnvoy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, good_claims};
use jwtproxy_tests::upstream::Upstream;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/examples");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

async fn get(address: SocketAddr, path: &str, token: Option<&str>) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    client::get(address, path, bearer.as_deref()).await
}

async fn assert_verifies(envoy: &OwnEnvoy) {
    let token = tokens::good();
    let refused = get(envoy.address(), "/", Some(&tokens::forged())).await;
    assert_eq!(refused.code(), 403, "{refused:?}");
    let accepted = get(envoy.address(), "/path", Some(&token)).await;
    assert_eq!(accepted.code(), 200, "{accepted:?}");
    assert_eq!(accepted.json()["path"], "/path");
    let replayed = get(envoy.address(), "/path", Some(&token)).await;
    assert_eq!(replayed.code(), 403, "{replayed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_filters() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let example = read("http_filters.yaml");
    let envoy = OwnEnvoy::start(&example, upstream.address(), registry.address()).await;
    assert_verifies(&envoy).await;
    assert_eq!(registry.requests("svc", "k1"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn per_route() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let example = read("per_route.yaml");
    let envoy = OwnEnvoy::start(&example, upstream.address(), registry.address()).await;
    assert_verifies(&envoy).await;

    assert_eq!(get(envoy.address(), "/healthz", None).await.code(), 200);
    for path in [
        "/healthz/",
        "/healthz2",
        "/health",
        "/admin",
        "/admin/users",
    ] {
        let answer = get(envoy.address(), path, None).await;
        assert_eq!(answer.code(), 403, "{path}: {answer:?}");
    }
    let admin = |role: &str| {
        let mut claims = good_claims();
        claims["aud"] = json!("https://admin.example");
        claims["role"] = json!(role);
        TestSigner::service().sign(&claims)
    };
    for (path, token, code) in [
        ("/admin/users", admin("admin"), 200),
        ("/admin", admin("admin"), 200),
        ("/other/../admin/users", admin("admin"), 200),
        ("/admin/users", admin("guest"), 403),
        ("/admin/users", tokens::good(), 403),
        ("/other/../admin/users", tokens::good(), 403),
        ("/elsewhere", admin("admin"), 403),
        ("/administration", admin("admin"), 403),
        ("/administration", tokens::good(), 200),
    ] {
        let answer = get(envoy.address(), path, Some(&token)).await;
        assert_eq!(answer.code(), code, "{path}: {answer:?}");
    }
}

/// Istio hands `pluginConfig` on in the sidecar's configuration, and the sidecar has a cluster for
/// every service of the mesh.
#[tokio::test(flavor = "multi_thread")]
async fn istio_wasmplugin() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let manifest: Vec<Value> = serde_saphyr::from_multiple(&read("istio-wasmplugin.yaml")).unwrap();
    let [plugin, service_entry] = &manifest[..] else {
        panic!("two documents are expected")
    };
    assert_eq!(plugin["kind"], "WasmPlugin");
    assert_eq!(plugin["spec"]["failStrategy"], "FAIL_RELOAD");
    assert_eq!(service_entry["kind"], "ServiceEntry");
    let config = &plugin["spec"]["pluginConfig"];
    let as_struct = json!({
        "@type": "type.googleapis.com/google.protobuf.Struct",
        "value": config,
    });
    let as_text = json!({
        "@type": "type.googleapis.com/google.protobuf.StringValue",
        "value": config.to_string(),
    });
    for configuration in [as_struct, as_text] {
        let sidecar = |bootstrap: String| {
            let mut tree: Value = serde_saphyr::from_str(&bootstrap).unwrap();
            let filter = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config\
                          /http_filters/0/typed_config/config/configuration";
            *tree.pointer_mut(filter).unwrap() = configuration;
            let cluster = json!("outbound|8888||registry.default.svc.cluster.local");
            tree["static_resources"]["clusters"][1]["name"] = cluster;
            tree.to_string()
        };
        let example = read("http_filters.yaml");
        let (api, registry) = (upstream.address(), registry.address());
        let envoy = OwnEnvoy::start_changed(&example, api, registry, sidecar).await;
        assert_verifies(&envoy).await;
    }
}
