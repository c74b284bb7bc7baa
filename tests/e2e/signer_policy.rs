use jwt_core::testing::TestSigner;
use jwtproxy_tests::authority::TestAuthority;
use jwtproxy_tests::client::get_through;
use jwtproxy_tests::https_upstream::HttpsUpstream;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::received::{claims, token_header, values};
use jwtproxy_tests::signer::Signer;
use jwtproxy_tests::tools::{curl, run};
use serde_json::Value;
use std::fs;

struct Scene {
    servers: TestAuthority,
    upstream: HttpsUpstream,
    signer: Signer,
}

impl Scene {
    async fn new(extra: &str) -> Self {
        let servers = TestAuthority::new("servers");
        let tls = servers.server(&["localhost", "127.0.0.1"], &["h2", "http/1.1"]);
        let upstream = HttpsUpstream::start(tls).await;
        let signer = Signer::start(&servers, extra).await;
        Self {
            servers,
            upstream,
            signer,
        }
    }

    /// What the upstream receives when curl asks for it by this name.
    async fn fetch(&self, host: &str, more: &[&str]) -> Value {
        let url = format!("https://{host}:{}/", self.upstream.port());
        let authority = self.signer.authority();
        let arguments = [more, &[url.as_str()]].concat();
        let said = curl(&self.signer.url(), authority.to_str().unwrap(), &arguments).await;
        said.ok();
        self.upstream.received().pop().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_change_audience_and_claims_by_host() {
    let scene = Scene::new(
        r#"
hosts:
- host: localhost
  audience: billing
  claims: {env: test, level: 3}
  claims_from_headers: {tenant: X-Tenant}
"#,
    )
    .await;
    let received = scene.fetch("localhost", &["-H", "X-Tenant: blue"]).await;
    let token = claims(&received);
    assert_eq!(token["aud"], "billing");
    assert_eq!(
        (&token["env"], &token["level"]),
        (&Value::from("test"), &Value::from(3))
    );
    assert_eq!(token["tenant"], "blue");
    assert!(values(&received, "x-tenant").is_empty());

    let received = scene.fetch("127.0.0.1", &["-H", "X-Tenant: blue"]).await;
    let token = claims(&received);
    assert_eq!(
        token["aud"],
        format!("https://127.0.0.1:{}", scene.upstream.port())
    );
    assert_eq!(token["tenant"], Value::Null);
    assert_eq!(values(&received, "x-tenant"), ["blue"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_shows_the_servers_own_certificate_and_carries_no_token() {
    let scene = Scene::new("hosts: [{host: localhost, action: tunnel}]").await;
    let url = format!("https://localhost:{}/", scene.upstream.port());
    let authority = scene.signer.authority();
    let through_signer = curl(&scene.signer.url(), authority.to_str().unwrap(), &[&url]).await;
    assert_eq!(through_signer.code, Some(60), "{through_signer:?}");

    let roots = scene.signer.authority().with_file_name("roots.pem");
    assert_eq!(
        fs::read_to_string(&roots).unwrap(),
        scene.servers.certificate()
    );
    let said = curl(&scene.signer.url(), roots.to_str().unwrap(), &[&url]).await;
    said.ok();
    let received = scene.upstream.received().pop().unwrap();
    assert!(values(&received, "authorization").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_keeps_its_own_authorization_and_what_is_denied_goes_nowhere() {
    let scene =
        Scene::new("hosts: [{host: localhost, action: pass}, {host: '*', action: deny}]").await;
    let received = scene
        .fetch("localhost", &["-H", "Authorization: mine"])
        .await;
    assert_eq!(values(&received, "authorization"), ["mine"]);

    let url = format!("https://127.0.0.1:{}/", scene.upstream.port());
    let authority = scene.signer.authority();
    let denied = curl(&scene.signer.url(), authority.to_str().unwrap(), &[&url]).await;
    assert_eq!(denied.code, Some(56), "{denied:?}");
    assert!(denied.stderr.contains("403"), "{denied:?}");
    assert_eq!(scene.upstream.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_through_the_parent_proxy() {
    // Another signer, which passes everything and wants a password.
    let parent = r#"
hosts: [{host: "*", port: 80, action: sign}, {host: localhost, action: tunnel}, {host: "*", action: pass}]
proxy_authentication: {username: user, password: "pass word"}
"#;
    let parent = Signer::start(&TestAuthority::new("nobody"), parent).await;
    let extra = format!("parent_proxy: http://user:pass%20word@{}", parent.address());
    let scene = Scene::new(&extra).await;
    let received = scene.fetch("localhost", &[]).await;
    assert!(
        claims(&received)["aud"]
            .as_str()
            .unwrap()
            .starts_with("https://localhost:")
    );

    let plain = HttpsUpstream::start_plain("127.0.0.1:0").await;
    let url = format!("http://127.0.0.1:{}/", plain.port());
    let answer = get_through(scene.signer.address(), &url).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    let received = plain.received().pop().unwrap();
    assert_eq!(claims(&received)["aud"], url.trim_end_matches('/'));
    assert!(values(&received, "proxy-authorization").is_empty());

    let wrong = format!("parent_proxy: http://user:wrong@{}", parent.address());
    let signer = Signer::start(&scene.servers, &wrong).await;
    let url = format!("https://localhost:{}/", scene.upstream.port());
    let answer = get_through(signer.address(), &url).await;
    assert_eq!(answer.code(), 502, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_type_of_the_key_decides_the_algorithm() {
    let upstream = HttpsUpstream::start_plain("127.0.0.1:0").await;
    let generated = [
        (
            "ES256",
            [
                "genpkey",
                "-algorithm",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ]
            .as_slice(),
        ),
        ("EdDSA", &["genpkey", "-algorithm", "ed25519"]),
    ];
    let mut keys = vec![("RS256", TestSigner::SERVICE_PRIVATE_PEM.to_owned())];
    for (algorithm, arguments) in generated {
        keys.push((algorithm, run("openssl", arguments, "").await.ok()));
    }
    for (algorithm, key) in &keys {
        let yaml = r#"
jwtproxy:
  signer_proxy:
    listen_addr: "127.0.0.1:0"
    signer:
      issuer: svc
      private_key: {type: preshared, options: {key_id: k1, private_key_path: "$DIR/key"}}
"#;
        let jwtproxy = Jwtproxy::start(yaml, &[("key", key)], &[]).await;
        let url = format!("http://127.0.0.1:{}/", upstream.port());
        let answer = get_through(jwtproxy.signer.unwrap(), &url).await;
        assert_eq!(answer.code(), 200, "{answer:?}");
        let received = upstream.received().pop().unwrap();
        assert_eq!(token_header(&received)["alg"], *algorithm);
    }
}
