use jwtproxy_tests::authority::TestAuthority;
use jwtproxy_tests::https_upstream::HttpsUpstream;
use jwtproxy_tests::received::claims;
use jwtproxy_tests::signer::Signer;
use jwtproxy_tests::tools::{curl, python, run};

/// A server of these names, and a signer that believes it.
async fn server_and_signer(extra: &str) -> (HttpsUpstream, Signer) {
    let servers = TestAuthority::new("servers");
    let tls = servers.server(&["localhost", "127.0.0.1", "::1"], &["h2", "http/1.1"]);
    let upstream = HttpsUpstream::start(tls).await;
    (upstream, Signer::start(&servers, extra).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_through_with_http_1_and_http_2() {
    let (upstream, signer) = server_and_signer("").await;
    let url = format!("https://localhost:{}/path?q=1", upstream.port());
    let authority = signer.authority();
    for (version, shown) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let arguments = [
            "-w",
            "%{http_version}",
            "-H",
            "Authorization: mine",
            version,
            &url,
        ];
        let said = curl(&signer.url(), authority.to_str().unwrap(), &arguments)
            .await
            .ok();
        assert!(said.ends_with(shown), "{said}");
        let received = upstream.received().pop().unwrap();
        // Whatever the client speaks, the server speaks HTTP/2.
        assert_eq!(received["version"], "HTTP/2.0");
        assert_eq!(
            claims(&received)["aud"],
            format!("https://localhost:{}", upstream.port())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_with_the_authority_as_its_only_trust_gets_through() {
    let (upstream, signer) = server_and_signer("").await;
    let program = r#"
import http.client, ssl, sys
host, port, name, target, authority = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
context.verify_flags |= ssl.VERIFY_X509_STRICT
connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=20)
connection.set_tunnel(name, int(target))
for _ in range(2):
    connection.request("POST", "/x", body=b"content", headers={"Content-Type": "text/plain"})
    response = connection.getresponse()
    assert response.status == 200, response.status
    assert b"content" in response.read()
print("fine")
"#;
    let proxy = signer.address();
    let (ip, port) = (proxy.ip().to_string(), proxy.port().to_string());
    let target = upstream.port().to_string();
    let authority = signer.authority();
    for name in ["localhost", "127.0.0.1"] {
        let arguments = [&ip, &port, name, &target, authority.to_str().unwrap()];
        assert_eq!(python(program, &arguments).await.ok().trim(), "fine");
        let received = upstream.received().pop().unwrap();
        assert_eq!(claims(&received)["aud"], format!("https://{name}:{target}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leaf_is_short_lived_has_its_own_key_and_names_the_host_alone() {
    let (upstream, signer) = server_and_signer("").await;
    let (proxy, target) = (signer.address().to_string(), upstream.port());
    let authority = signer.authority();
    for (host, names) in [
        ("localhost", "DNS:localhost"),
        ("127.0.0.1", "IP Address:127.0.0.1"),
    ] {
        let connect = format!("{host}:{target}");
        let mut arguments = vec!["s_client", "-proxy", &proxy, "-connect", &connect];
        arguments.extend([
            "-CAfile",
            authority.to_str().unwrap(),
            "-verify_return_error",
        ]);
        if host == "localhost" {
            arguments.extend(["-servername", host]);
        } else {
            arguments.push("-noservername");
        }
        let handshake = run("openssl", &arguments, "").await.ok();
        assert!(
            handshake.contains("Verify return code: 0 (ok)"),
            "{handshake}"
        );
        let shown = ["x509", "-noout", "-text", "-checkend", "3600"];
        let leaf = run("openssl", &shown, &handshake).await.ok();
        assert!(leaf.contains(names), "{leaf}");
        assert!(leaf.contains("prime256v1"), "{leaf}");
        assert!(
            leaf.contains("Issuer: CN = the signer's authority"),
            "{leaf}"
        );
        let after_a_day = ["x509", "-noout", "-checkend", "86401"];
        assert_eq!(run("openssl", &after_a_day, &handshake).await.code, Some(1));
        let key = ["x509", "-noout", "-pubkey"];
        let leaf_key = run("openssl", &key, &handshake).await.ok();
        let in_file = [
            "x509",
            "-noout",
            "-pubkey",
            "-in",
            authority.to_str().unwrap(),
        ];
        assert_ne!(leaf_key, run("openssl", &in_file, "").await.ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_inside_the_tunnel_is_misdirected() {
    let (upstream, signer) = server_and_signer("").await;
    let url = format!("https://localhost:{}/", upstream.port());
    let authority = signer.authority();
    for version in ["--http1.1", "--http2"] {
        let arguments = ["-w", "%{http_code}", "-H", "Host: evil.test", version, &url];
        let said = curl(&signer.url(), authority.to_str().unwrap(), &arguments)
            .await
            .ok();
        assert!(said.ends_with("421"), "{said}");
        assert!(said.contains("evil.test"), "{said}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_in_the_handshake_is_misdirected() {
    let (upstream, signer) = server_and_signer("").await;
    let (proxy, target) = (signer.address().to_string(), upstream.port());
    let connect = format!("localhost:{target}");
    let request = format!("GET / HTTP/1.1\r\nHost: {connect}\r\nConnection: close\r\n\r\n");
    let mut arguments = vec!["s_client", "-quiet", "-proxy", &proxy, "-connect", &connect];
    let authority = signer.authority();
    arguments.extend([
        "-CAfile",
        authority.to_str().unwrap(),
        "-verify_return_error",
    ]);
    arguments.extend(["-servername", "evil.test"]);
    let said = run("openssl", &arguments, &request).await;
    assert!(said.stdout.starts_with("HTTP/1.1 421 "), "{said:?}");
    assert!(upstream.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_inside_a_tunnel_is_signed_too() {
    let servers = TestAuthority::new("servers");
    let upstream = HttpsUpstream::start_plain("127.0.0.1:0").await;
    let signer = Signer::start(&servers, "").await;
    let url = format!("http://127.0.0.1:{}/", upstream.port());
    let authority = signer.authority();
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let arguments = ["--proxytunnel", version, &url];
        curl(&signer.url(), authority.to_str().unwrap(), &arguments)
            .await
            .ok();
        let received = upstream.received().pop().unwrap();
        assert_eq!(claims(&received)["aud"], url.trim_end_matches('/'));
    }
    assert_eq!(upstream.received()[1]["version"], "HTTP/2.0");
}
