//! Who may use the proxy, and for what.

use crate::client::{Client, Wire, send};
use crate::message::{get, text};
use crate::running_proxy::RunningProxy;
use crate::upstream::Upstream;
use signer_native::policy::{Action, HostPattern, Policy, Rule};
use signer_native::proxy::{Credentials, Parts, Settings};

#[tokio::test]
async fn without_the_password_nothing_passes() {
    let proxy = with_password().await;
    let (upstream, _received) = Upstream::recording().await;
    let mut client = Client::connect(&proxy).await;
    for given in [None, Some("Basic dXNlcjp3cm9uZw==")] {
        let mut request = get(&upstream.url("/"));
        if let Some(given) = given {
            let headers = request.headers_mut();
            headers.insert("Proxy-Authorization", given.parse().unwrap());
        }
        let response = client.send(request).await;
        assert_eq!(response.status(), 407);
        let challenge = response.headers()["proxy-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Basic realm="), "{challenge}");
        text(response).await;
    }
    let mut wire = Wire::connect(&proxy).await;
    let target = upstream.address;
    wire.write(&format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
    ))
    .await;
    assert!(wire.read_to_end().await.starts_with("HTTP/1.1 407 "));
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn with_the_password_requests_pass_and_it_stays_here() {
    let proxy = with_password().await;
    let (upstream, mut received) = Upstream::recording().await;
    let mut request = get(&upstream.url("/"));
    let credentials = "Basic dXNlcjpzZWNyZXQ=".parse().unwrap();
    let headers = request.headers_mut();
    headers.insert("Proxy-Authorization", credentials);
    assert_eq!(send(&proxy, request).await.status(), 200);
    let received = received.next().await;
    assert!(!received.headers().contains_key("proxy-authorization"));
}

#[tokio::test]
async fn a_request_to_the_proxy_itself_is_refused() {
    let proxy = RunningProxy::start().await;
    let url = format!("http://localhost:{}/", proxy.address.port());
    let response = send(&proxy, get(&url)).await;
    assert_eq!(response.status(), 400);
    let reason = text(response).await;
    assert!(reason.contains("is this proxy itself"), "{reason}");
}

#[tokio::test]
async fn what_the_policy_denies_is_refused_and_what_it_passes_is_not_signed() {
    let (denied, _) = Upstream::recording().await;
    let (passed, mut received) = Upstream::recording().await;
    let rule = |upstream: &Upstream, action| Rule {
        host: HostPattern::parse("127.0.0.1").unwrap(),
        port: Some(upstream.address.port()),
        action,
        beside_registry: false,
    };
    let parts = Parts {
        policy: Policy::new(vec![
            rule(&denied, Action::Deny),
            rule(&passed, Action::Pass),
        ]),
        ..Parts::default()
    };
    let proxy = RunningProxy::start_from(parts, Settings::default()).await;
    let response = send(&proxy, get(&denied.url("/"))).await;
    assert_eq!((response.status().as_u16(), denied.connections()), (403, 0));

    let mut request = get(&passed.url("/"));
    let own = "Bearer mine".parse().unwrap();
    request.headers_mut().insert("Authorization", own);
    assert_eq!(send(&proxy, request).await.status(), 200);
    let received = received.next().await;
    assert_eq!(received.headers()["authorization"], "Bearer mine");
}

async fn with_password() -> RunningProxy {
    let parts = Parts {
        credentials: Credentials::new("user", "secret"),
        ..Parts::default()
    };
    RunningProxy::start_from(parts, Settings::default()).await
}
