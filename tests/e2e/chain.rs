use jwt_core::testing::TestSigner;
use jwtproxy_tests::client;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::free_address;
use serde_json::Value;

/// The values of a header field that an upstream received.
fn values<'a>(received: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = received["headers"].as_array().unwrap().iter();
    let fields = headers.map(|field| field.as_str().unwrap().split_once(": ").unwrap());
    fields
        .filter(|(own, _)| *own == name)
        .map(|(_, value)| value)
        .collect()
}

fn public_key_file() -> String {
    TestSigner::service().public_pem()
}

const SIGNER: &str = r#"
  signer_proxy:
    listen_addr: "127.0.0.1:0"
    signer:
      issuer: svc
      private_key:
        type: preshared
        options: {key_id: k1, private_key_path: "$DIR/service.key"}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_signed_verified_and_answered() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    // The audience must name the port before the verifier runs.
    let address = free_address();
    let yaml = format!(
        r#"
jwtproxy:{SIGNER}
  verifier_proxies:
  - listen_addr: "{address}"
    verifier:
      upstream: "http://{}/base"
      audience: "http://{address}"
      key_server: {{type: keyregistry, options: {{registry: "{}"}}}}
"#,
        upstream.address(),
        registry.url()
    );
    let files = [("service.key", TestSigner::SERVICE_PRIVATE_PEM)];
    let jwtproxy = Jwtproxy::start(&yaml, &files, &[]).await;

    let url = format!("http://{address}/path?query=1");
    let answer = client::get_through(jwtproxy.signer.unwrap(), &url).await;
    assert_eq!(answer.code(), 200, "{answer:?}\n{}", jwtproxy.log());
    let received = answer.json();
    assert_eq!(received["path"], "/base/path?query=1");
    assert_eq!(values(&received, "host"), [address.to_string()]);
    let [authorization] = values(&received, "authorization")[..] else {
        panic!("{received}")
    };

    let replay = client::get(address, "/path", Some(authorization)).await;
    assert_eq!(replay.code(), 403);
    assert!(replay.body.contains("used before"), "{replay:?}");
    assert_eq!(client::get(address, "/path", None).await.code(), 403);
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn preshared_keys_need_no_registry_and_void_nonces_permit_replays() {
    let upstream = Upstream::start().await;
    let address = free_address();
    let yaml = format!(
        r#"
jwtproxy:{SIGNER}
  verifier_proxies:
  - listen_addr: "{address}"
    verifier:
      upstream: "http://{}/"
      audience: "http://{address}"
      key_server:
        type: preshared
        options: {{issuer: svc, key_id: k1, public_key_path: "$DIR/service.pub"}}
      nonce_storage: {{type: void}}
      claims_verifiers:
      - type: static
        options: {{iss: svc}}
"#,
        upstream.address()
    );
    let public_key = public_key_file();
    let files = [
        ("service.key", TestSigner::SERVICE_PRIVATE_PEM),
        ("service.pub", &public_key),
    ];
    let jwtproxy = Jwtproxy::start(&yaml, &files, &[]).await;

    let url = format!("http://{address}/");
    let answer = client::get_through(jwtproxy.signer.unwrap(), &url).await;
    assert_eq!(answer.code(), 200, "{answer:?}\n{}", jwtproxy.log());
    let received = answer.json();
    let authorization = values(&received, "authorization")[0].to_owned();
    assert_eq!(
        client::get(address, "/", Some(&authorization)).await.code(),
        200
    );
    let stranger = format!("Bearer {}", jwtproxy_tests::tokens::forged());
    assert_eq!(client::get(address, "/", Some(&stranger)).await.code(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn verifiers_of_one_process_keep_to_themselves() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let registry = TestRegistry::start().await;
    let addresses = [free_address(), free_address()];
    let mut yaml = format!("\njwtproxy:{SIGNER}  verifier_proxies:\n");
    for (address, upstream) in addresses.iter().zip([&one, &two]) {
        yaml += &format!(
            r#"
  - listen_addr: "{address}"
    verifier:
      upstream: "http://{}/"
      audience: "http://{address}"
      key_server: {{type: keyregistry, options: {{registry: "{}"}}}}
"#,
            upstream.address(),
            registry.url()
        );
    }
    let files = [("service.key", TestSigner::SERVICE_PRIVATE_PEM)];
    let jwtproxy = Jwtproxy::start(&yaml, &files, &[]).await;
    assert_eq!(jwtproxy.verifiers, addresses);
    let signer = jwtproxy.signer.unwrap();

    let answer = client::get_through(signer, &format!("http://{}/", addresses[0])).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    let received = answer.json();
    let authorization = values(&received, "authorization")[0];
    let elsewhere = client::get(addresses[1], "/", Some(authorization)).await;
    assert_eq!(elsewhere.code(), 403);
    assert!(elsewhere.body.contains("another audience"), "{elsewhere:?}");
    assert_eq!((one.received().len(), two.received().len()), (1, 0));
    let answer = client::get_through(signer, &format!("http://{}/", addresses[1])).await;
    assert_eq!((answer.code(), two.received().len()), (200, 1));
}
