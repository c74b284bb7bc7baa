use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::verifier::Verifier;
use jwtproxy_tests::websocket::{WebSocket, WebSocketService};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_verified_once_and_then_passes_both_ways() {
    let (service, registry) = (WebSocketService::start().await, TestRegistry::start().await);
    let verifier = Verifier::start_before(service.address(), &registry, "").await;
    let bearer = format!("Bearer {}", tokens::good());
    let mut socket = WebSocket::open(verifier.address(), Some(&bearer))
        .await
        .unwrap();
    assert_eq!(socket.receive().await, Message::text("welcome"));
    let large = Message::binary(vec![7; 1_000_000]);
    for message in [Message::text("one"), large, Message::text("two")] {
        socket.send(message.clone()).await;
        assert_eq!(socket.receive().await, message);
    }

    let forged = format!("Bearer {}", tokens::forged());
    for authorization in [None, Some(&*bearer), Some(&*forged)] {
        let refused = WebSocket::open(verifier.address(), authorization).await;
        assert_eq!(refused.err(), Some(403), "{authorization:?}");
    }
}
