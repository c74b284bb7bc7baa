//! The registry over HTTP, as its clients see it.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the helpers beside them"
)]

mod support;

use axum::http::{Method, StatusCode};
use jwt_core::time::Timestamp;
use keyregistry_mock::{KeyState, Options, Registry, Server};
use serde_json::json;
use std::time::{Duration, Instant, SystemTime};
use support::{connect_raw, exchange_raw, get, jwk, request, start};
use tokio::io::AsyncWriteExt as _;

fn in_seconds(seconds: u64) -> Option<Timestamp> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Some(Timestamp::from_unix(
        now.unwrap() + Duration::from_secs(seconds),
    ))
}

#[tokio::test]
async fn an_approved_key_is_served_with_a_max_age() {
    let registry = Registry::in_memory().unwrap();
    registry
        .publish("svc", "k", jwk("k"), KeyState::Approved)
        .unwrap();
    let options = Options {
        max_age: Duration::from_secs(90),
        ..Options::default()
    };
    let server = start(&registry, options).await;
    let answer = get(&server, "services/svc/keys/k").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "max-age=90");
    assert_eq!(answer.json(), jwk("k").to_json());
}

#[tokio::test]
async fn no_max_age_outlives_its_key() {
    let registry = Registry::in_memory().unwrap();
    registry
        .publish("svc", "k", jwk("k"), KeyState::Approved)
        .unwrap();
    registry.set_expiry("svc", "k", in_seconds(30)).unwrap();
    let server = start(&registry, Options::default()).await;
    let answer = get(&server, "services/svc/keys/k").await;
    let max_age = answer.header("cache-control").strip_prefix("max-age=");
    let max_age: u64 = max_age.unwrap().parse().unwrap();
    assert!((20..=30).contains(&max_age), "{max_age}");
}

#[tokio::test]
async fn keys_that_are_not_served_have_a_status_each() {
    let registry = Registry::in_memory().unwrap();
    registry
        .publish("svc", "pending", jwk("pending"), KeyState::Pending)
        .unwrap();
    registry
        .publish("svc", "expired", jwk("expired"), KeyState::Approved)
        .unwrap();
    registry
        .set_expiry("svc", "expired", in_seconds(0))
        .unwrap();
    let server = start(&registry, Options::default()).await;
    for (path, status) in [
        ("services/svc/keys/pending", StatusCode::CONFLICT),
        ("services/svc/keys/expired", StatusCode::FORBIDDEN),
        ("services/svc/keys/unknown", StatusCode::NOT_FOUND),
        ("services/nobody/keys/pending", StatusCode::NOT_FOUND),
    ] {
        let answer = get(&server, path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(answer.json()["error"].is_string(), "{path}");
        assert!(!answer.headers.contains_key("cache-control"), "{path}");
    }
}

#[tokio::test]
async fn a_change_shows_at_once() {
    let registry = Registry::in_memory().unwrap();
    registry
        .publish("svc", "k", jwk("k"), KeyState::Pending)
        .unwrap();
    let server = start(&registry, Options::default()).await;
    let path = "services/svc/keys/k";
    assert_eq!(get(&server, path).await.status, StatusCode::CONFLICT);
    registry
        .publish("svc", "k", jwk("k"), KeyState::Approved)
        .unwrap();
    assert_eq!(get(&server, path).await.status, StatusCode::OK);
    registry.remove("svc", "k").unwrap();
    assert_eq!(get(&server, path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_list_of_a_service_may_be_empty() {
    let registry = Registry::in_memory().unwrap();
    registry
        .publish("svc", "k", jwk("k"), KeyState::Approved)
        .unwrap();
    registry
        .publish("svc", "p", jwk("p"), KeyState::Pending)
        .unwrap();
    let server = start(&registry, Options::default()).await;
    let answer = get(&server, "services/svc/keys").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json(), json!({"keys": [jwk("k").to_json()]}));
    for path in ["services/nobody/keys", "services//keys"] {
        let answer = get(&server, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.json(), json!({"keys": []}), "{path}");
    }
}

#[tokio::test]
async fn service_and_key_id_are_one_percent_encoded_segment_each() {
    let cases = [
        ("a/b", "a%2Fb"),
        ("a/b", "a%2fb"),
        ("/", "%2F"),
        ("two words", "two%20words"),
        ("a+b", "a+b"),
        ("100%", "100%25"),
        ("%2F", "%252F"),
        ("schlüssel 🔑", "schl%C3%BCssel%20%F0%9F%94%91"),
        (
            "https://example.com:8080/x?y=z#f",
            "https%3A%2F%2Fexample.com%3A8080%2Fx%3Fy%3Dz%23f",
        ),
        ("{kid}", "%7Bkid%7D"),
        ("keys", "keys"),
        ("...", "..."),
        (".", "."),
        ("..", ".."),
        ("..", "%2E%2e"),
        ("nul\0", "nul%00"),
    ];
    let registry = Registry::in_memory().unwrap();
    let server = start(&registry, Options::default()).await;
    for (id, encoded) in cases {
        registry
            .publish(id, id, jwk(id), KeyState::Approved)
            .unwrap();
        let key = get(&server, &format!("services/{encoded}/keys/{encoded}")).await;
        assert_eq!(key.status, StatusCode::OK, "{encoded}");
        assert_eq!(key.json()["kid"], id);
        let list = get(&server, &format!("services/{encoded}/keys")).await;
        assert_eq!(list.json()["keys"][0]["kid"], id);
        registry.remove(id, id).unwrap();
        assert!(server.key_requests(id, id) >= 1, "{id}");
    }
}

#[tokio::test]
async fn a_slash_that_is_not_encoded_separates() {
    let registry = Registry::in_memory().unwrap();
    registry
        .publish("a/b", "c/d", jwk("c/d"), KeyState::Approved)
        .unwrap();
    let server = start(&registry, Options::default()).await;
    for path in [
        "services/a/b/keys/c%2Fd",
        "services/a%2Fb/keys/c/d",
        "services/a%2Fb/keys/c%2Fd/",
        "services/a%2Fb/keys/",
        "services",
        "",
    ] {
        let answer = get(&server, path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn ids_that_are_not_percent_encoded_utf_8_are_malformed() {
    let server = start(&Registry::in_memory().unwrap(), Options::default()).await;
    for path in [
        "services/svc/keys/100%",
        "services/svc/keys/%zz",
        "services/%2/keys",
        "services/svc/keys/%FF",
        "services/%C3/keys",
    ] {
        let answer = get(&server, path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let server = start(&Registry::in_memory().unwrap(), Options::default()).await;
    for (path, allow) in [
        ("services/svc/keys/k", "GET,HEAD,PUT,DELETE"),
        ("services/svc/keys", "GET,HEAD"),
        ("healthz", "GET,HEAD"),
        ("metrics", "GET,HEAD"),
    ] {
        for method in [Method::PATCH, Method::POST, Method::OPTIONS] {
            let answer = request(&server, method, path).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            assert_eq!(answer.header("allow"), allow);
            assert!(answer.json()["error"].is_string(), "{path}");
        }
        let answer = request(&server, Method::HEAD, path).await;
        assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(answer.body.is_empty());
    }
}

#[tokio::test]
async fn a_registry_may_live_below_a_path() {
    let registry = Registry::in_memory().unwrap();
    registry
        .publish("svc", "k", jwk("k"), KeyState::Approved)
        .unwrap();
    for base_path in ["/base", "/base/", "/:a/*b/c%20d/"] {
        let options = Options {
            base_path: base_path.parse().unwrap(),
            ..Options::default()
        };
        let server = start(&registry, options).await;
        let base_path = base_path.trim_end_matches('/');
        assert_eq!(
            server.url(),
            format!("http://{}{base_path}/", server.local_addr())
        );
        let answer = get(&server, "services/svc/keys/k").await;
        assert_eq!(answer.status, StatusCode::OK);
        let list = get(&server, "services/svc/keys").await;
        assert_eq!(list.json()["keys"][0]["kid"], "k");

        let outside = "GET /services/svc/keys/k HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let answer = exchange_raw(&server, outside).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        let health = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let answer = exchange_raw(&server, health).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test]
async fn requests_are_counted_for_tests_to_ask() {
    let registry = Registry::in_memory().unwrap();
    registry
        .publish("a/b", "k", jwk("k"), KeyState::Approved)
        .unwrap();
    let server = start(&registry, Options::default()).await;
    assert_eq!(server.requests(), []);
    get(&server, "services/a%2Fb/keys/k?x=y").await;
    request(&server, Method::PATCH, "services/a%2fb/keys/k").await;
    get(&server, "services/a%2Fb/keys").await;
    get(&server, "elsewhere").await;
    get(&server, "services/svc/keys/%FF").await;

    assert_eq!(server.key_requests("a/b", "k"), 1);
    assert_eq!(server.key_requests("a/b", "other"), 0);
    let requests = server.requests();
    let seen: Vec<(&str, Option<&str>, Option<&str>, u16)> = requests
        .iter()
        .map(|it| {
            let (service, kid) = (it.service.as_deref(), it.kid.as_deref());
            (it.target.as_str(), service, kid, it.status.as_u16())
        })
        .collect();
    let expected = [
        ("/services/a%2Fb/keys/k?x=y", Some("a/b"), Some("k"), 200),
        ("/services/a%2fb/keys/k", Some("a/b"), Some("k"), 405),
        ("/services/a%2Fb/keys", Some("a/b"), None, 200),
        ("/elsewhere", None, None, 404),
        ("/services/svc/keys/%FF", None, None, 400),
    ];
    assert_eq!(seen, expected);
    assert_eq!(requests[1].method, Method::PATCH);
}

#[tokio::test]
async fn requests_are_not_kept_when_nobody_will_ask() {
    let options = Options {
        record_requests: false,
        ..Options::default()
    };
    let server = start(&Registry::in_memory().unwrap(), options).await;
    get(&server, "services/svc/keys/k").await;
    assert_eq!(server.requests(), []);
    assert_eq!(server.key_requests("svc", "k"), 0);
}

#[tokio::test]
async fn nothing_a_client_sends_brings_it_down() {
    let server = start(&Registry::in_memory().unwrap(), Options::default()).await;
    let long = format!(
        "GET /services/{}/keys HTTP/1.1\r\nhost: x\r\n\r\n",
        "a".repeat(1 << 20)
    );
    for request in [
        "CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "GET http://example.com HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "GET services HTTP/1.1\r\nhost: x\r\n\r\n",
        "\u{0}\u{1}\r\n\r\n",
        long.as_str(),
    ] {
        exchange_raw(&server, request).await;
        assert_eq!(get(&server, "healthz").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn after_its_shutdown_the_port_is_free_for_the_next() {
    let registry = Registry::in_memory().unwrap();
    let server = start(&registry, Options::default()).await;
    let address = server.local_addr();
    // Connections that wait for nothing do not hold it up.
    let _unused = connect_raw(&server).await;
    let mut kept_alive = connect_raw(&server).await;
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    kept_alive.write_all(request).await.unwrap();
    kept_alive.readable().await.unwrap();
    let started = Instant::now();
    server.shutdown().await;
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());

    let server = Server::start(address, registry, Options::default()).await;
    assert_eq!(server.unwrap().local_addr(), address);
}

#[tokio::test]
async fn dropping_it_stops_it() {
    let server = start(&Registry::in_memory().unwrap(), Options::default()).await;
    let address = server.local_addr();
    drop(server);
    let closed = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(5), closed).await;
    assert!(outcome.is_ok(), "it still listens");
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_it() {
    let server = start(&Registry::in_memory().unwrap(), Options::default()).await;
    let address = server.local_addr();
    let second = Server::start(address, Registry::in_memory().unwrap(), Options::default()).await;
    let error = second.unwrap_err().to_string();
    let expected = format!("cannot listen on {address}: ");
    assert!(error.starts_with(&expected), "{error}");
}
