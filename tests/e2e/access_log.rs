use jwtproxy_tests::client;
use jwtproxy_tests::own_envoy::OwnEnvoy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::upstream::Upstream;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The filter state that Envoy's own access log can show.
const FORMAT: &str = "%RESPONSE_CODE% %FILTER_STATE(wasm.jwtproxy.reason:PLAIN)% \
                      %FILTER_STATE(wasm.jwtproxy.claims:PLAIN)%\n";

fn with_access_log(bootstrap: &str, log: &Path) -> String {
    let mut tree: Value = serde_saphyr::from_str(bootstrap).unwrap();
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let manager = tree.pointer_mut(manager).unwrap();
    manager["access_log"] = json!([{"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": log,
        "log_format": {"text_format_source": {"inline_string": FORMAT}},
    }}]);
    let filter = "/http_filters/0/typed_config/config/configuration/value/claims_in_filter_state";
    let (parent, key) = filter.rsplit_once('/').unwrap();
    manager.pointer_mut(parent).unwrap()[key] = json!(true);
    tree.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_log_can_show_the_reason_and_the_claims() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/examples/http_filters.yaml");
    let example = std::fs::read_to_string(example).unwrap();
    let change = |bootstrap: String| with_access_log(&bootstrap, &log);
    let (api, keys) = (upstream.address(), registry.address());
    let envoy = OwnEnvoy::start_changed(&example, api, keys, change).await;

    let token = tokens::good();
    for (code, token) in [(200, Some(&token)), (403, Some(&token)), (403, None)] {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let answer = client::get(envoy.address(), "/", bearer.as_deref()).await;
        assert_eq!(answer.code(), code, "{answer:?}");
    }

    // Envoy writes the file every ten seconds.
    let deadline = Instant::now() + Duration::from_secs(60);
    let lines = loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if text.lines().count() >= 3 {
            break text;
        }
        assert!(Instant::now() < deadline, "{text}");
        sleep(Duration::from_millis(100)).await;
    };
    let lines: Vec<_> = lines.lines().collect();
    assert!(
        lines[0].starts_with("200 - {\"aud\":\"https://api.example\""),
        "{lines:?}"
    );
    assert_eq!(lines[1..], ["403 replayed -", "403 missing_token -"]);
}
