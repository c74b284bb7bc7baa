use jwtproxy_tests::certificates::TestCa;
use jwtproxy_tests::front::{Front, Hello};
use jwtproxy_tests::grpc::{FORGED_TRAILERS, GrpcAnswer, GrpcService, MESSAGE, call};
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, AUDIENCE};
use jwtproxy_tests::verifier::Verifier;
use std::net::SocketAddr;
use tokio::net::TcpStream;

async fn call_with(verifier: SocketAddr, authorization: Option<&str>) -> GrpcAnswer {
    let stream = TcpStream::connect(verifier).await.unwrap();
    call(stream, &verifier.to_string(), authorization).await
}

fn assert_served(answer: &GrpcAnswer) {
    assert_eq!(answer.http_status, 200, "{answer:?}");
    assert_eq!(answer.headers["x-path"], "/test.Echo/Chat");
    assert_eq!(answer.data, [MESSAGE, MESSAGE].concat());
    assert_eq!(answer.trailers["grpc-status"], "0");
    assert_eq!(answer.trailers["x-sent"], "by the client");
    assert!(!answer.trailers.contains_key("authorization"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trailer_carries_a_token_or_what_only_a_token_can_say() {
    let (service, registry) = (GrpcService::start().await, TestRegistry::start().await);
    let extra = "excludes: [/test.Echo/Chat]\n\
                 claim_to_headers: [{claim_name: sub, header_name: X-Jwt-Sub}]";
    let exempt = Verifier::start_before(service.address(), &registry, extra).await;
    let extra = "claim_to_headers: [{claim_name: sub, header_name: X-Jwt-Sub}]";
    let verified = Verifier::start_before(service.address(), &registry, extra).await;
    let bearer = format!("Bearer {}", tokens::good());
    for (verifier, authorization) in [(&exempt, None), (&verified, Some(&*bearer))] {
        let answer = call_with(verifier.address(), authorization).await;
        assert_served(&answer);
        for name in FORGED_TRAILERS {
            assert!(!answer.trailers.contains_key(name), "{name}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_passes_with_its_trailers_and_refusals_are_grpc_statuses() {
    let (service, mut registry) = (GrpcService::start().await, TestRegistry::start().await);
    let verifier = Verifier::start_before(service.address(), &registry, "").await;
    let bearer = format!("Bearer {}", tokens::good());
    assert_served(&call_with(verifier.address(), Some(&bearer)).await);

    const PERMISSION_DENIED: &str = "7";
    let forged = format!("Bearer {}", tokens::forged());
    for (authorization, reason) in [
        (None, "no token"),
        (Some(&*bearer), "used before"),
        (Some(&*forged), "the signature does not match"),
    ] {
        let answer = call_with(verifier.address(), authorization).await;
        assert_eq!(answer.http_status, 200, "{answer:?}");
        assert_eq!(answer.grpc_status(), PERMISSION_DENIED, "{answer:?}");
        let message = answer.headers["grpc-message"].to_str().unwrap();
        let message = message.replace("%20", " ");
        let expected = "jwtproxy: unable to verify request: ";
        assert!(message.starts_with(expected), "{message}");
        assert!(message.contains(reason), "{reason:?} is not in {message}");
    }

    const UNAVAILABLE: &str = "14";
    registry.go_down().await;
    let other = jwtproxy_tests::tokens::with_claim("iss", "other".into());
    let answer = call_with(verifier.address(), Some(&format!("Bearer {other}"))).await;
    assert_eq!(answer.grpc_status(), UNAVAILABLE, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_https_upstream_is_asked_for_http_2() {
    let (service, registry) = (GrpcService::start().await, TestRegistry::start().await);
    let ca = TestCa::new();
    let front = Front::tls(service.address(), &ca.issue("localhost")).await;
    let yaml = format!(
        r#"
jwtproxy:
  verifier_proxies:
  - listen_addr: "127.0.0.1:0"
    verifier:
      upstream: "https://localhost:{}/"
      audience: {AUDIENCE}
      key_server: {{type: keyregistry, options: {{registry: "{}"}}}}
"#,
        front.port(),
        registry.url()
    );
    let trust = [("SSL_CERT_FILE", "$DIR/ca.pem")];
    let jwtproxy = Jwtproxy::start_with(&yaml, &[("ca.pem", &ca.pem())], &[], &trust).await;
    let bearer = format!("Bearer {}", tokens::good());
    assert_served(&call_with(jwtproxy.verifiers[0], Some(&bearer)).await);
    let hello = Hello {
        server_name: Some("localhost".to_owned()),
        protocol: Some("h2".to_owned()),
    };
    assert_eq!(front.hellos(), [hello]);
}
