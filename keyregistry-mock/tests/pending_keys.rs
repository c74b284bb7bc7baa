//! What strangers can do with keys that await approval, and keys that were revoked, over HTTP.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the helpers beside them"
)]

mod support;

use jwt_core::testing::TestSigner;
use keyregistry_mock::{Approval, Bounds, Options};
use std::net::SocketAddr;
use std::time::Duration;
use support::approve;
use support::world::{World, jwk, one, two};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::sleep;

/// Publishes a key signed by itself, from this address of the loopback interface.
async fn publish_from(
    world: &World,
    source: &str,
    forwarded: &str,
    kid: &str,
    key: &TestSigner,
) -> u16 {
    let (body, token) = (jwk(key, kid).to_string(), world.to_put(kid, key, key, kid));
    let socket = TcpSocket::new_v4().unwrap();
    let source: SocketAddr = format!("{source}:0").parse().unwrap();
    socket.bind(source).unwrap();
    let mut stream = socket.connect(world.server.local_addr()).await.unwrap();
    let request = format!(
        "PUT /{} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{forwarded}\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        world.path(kid),
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn source_of(world: &World, kid: &str) -> String {
    let origin = world.registry.get("svc", kid).unwrap().origin;
    origin.unwrap().source.to_string()
}

fn room_for(pending: usize) -> Options {
    Options {
        bounds: Bounds {
            pending,
            ..Bounds::default()
        },
        ..Options::default()
    }
}

#[tokio::test]
async fn an_honest_service_can_publish_when_a_stranger_has_filled_the_room() {
    let world = World::with(room_for(1)).await;
    assert_eq!(
        publish_from(&world, "127.0.0.2", "", "a", &two()).await,
        202
    );
    assert_eq!(source_of(&world, "a"), "127.0.0.2");
    assert_eq!(
        publish_from(&world, "127.0.0.3", "", "b", &one()).await,
        202
    );
    assert_eq!(
        (world.status("a").await, world.status("b").await),
        (404, 409)
    );
    approve(&world.registry, "svc", "b");
    assert_eq!(
        publish_from(&world, "127.0.0.2", "", "a", &two()).await,
        202
    );
    assert_eq!(world.status("b").await, 200);
}

#[tokio::test]
async fn a_client_chooses_its_source_only_where_a_trusted_proxy_says_it() {
    let forwarded = "x-forwarded-for: 203.0.113.1, 2001:db8::7\r\n";
    for (trusted_hops, source) in [(0, "127.0.0.2"), (1, "2001:db8::/64"), (2, "203.0.113.1")] {
        let world = World::with(Options {
            trusted_hops,
            ..Options::default()
        })
        .await;
        let published = publish_from(&world, "127.0.0.2", forwarded, "a", &one()).await;
        assert_eq!(
            (published, source_of(&world, "a")),
            (202, source.to_owned())
        );
    }
}

#[tokio::test]
async fn one_key_awaits_approval_under_one_name_until_its_owner_removes_it() {
    let world = World::new(Approval::Manual).await;
    assert_eq!(world.publish("a", &one()).await, 202);
    assert_eq!(world.publish("b", &one()).await, 403);
    assert_eq!(
        world.delete("a", &world.to_delete("a", &one(), "a")).await,
        204
    );
    assert_eq!(world.publish("b", &one()).await, 202);
    assert_eq!(
        world.delete("b", &world.to_delete("b", &one(), "b")).await,
        204
    );
    assert_eq!(
        world.publish("b", &one()).await,
        202,
        "no tombstone is left"
    );
}

#[tokio::test]
async fn a_key_that_was_not_approved_in_its_time_can_be_published_again() {
    let world = World::with(Options {
        pending_life: Duration::ZERO,
        ..Options::default()
    })
    .await;
    assert_eq!(world.publish("a", &one()).await, 202);
    while world.status("a").await == 409 {
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.status("a").await, 404);
    assert_eq!(
        world.publish("b", &one()).await,
        202,
        "its name is free too"
    );
}

#[tokio::test]
async fn neither_a_revoked_key_nor_its_id_comes_back() {
    for approval in [Approval::Manual, Approval::Automatic] {
        let world = World::new(approval).await;
        world.publish("a", &one()).await;
        approve(&world.registry, "svc", "a");
        assert_eq!(
            world.delete("a", &world.to_delete("a", &one(), "a")).await,
            204
        );
        for (kid, key) in [("a", one()), ("b", one()), ("a", two())] {
            assert_eq!(world.publish(kid, &key).await, 403, "{kid}");
        }
        assert_eq!(
            world.delete("a", &world.to_delete("a", &one(), "a")).await,
            403
        );
        assert_eq!(
            (world.status("a").await, world.status("b").await),
            (404, 404)
        );
        assert_eq!(world.publish("c", &two()).await, approval_status(approval));
    }
}

#[tokio::test]
async fn a_replaced_key_does_not_come_back_while_it_is_served_for_its_time_of_grace() {
    let world = World::with(Options {
        approval: Approval::Automatic,
        grace: Duration::from_secs(600),
        ..Options::default()
    })
    .await;
    world.publish("a", &one()).await;
    let rotated = world.to_put("b", &two(), &one(), "a");
    assert_eq!(world.put("b", &two(), &rotated).await, 200);
    assert_eq!(world.status("a").await, 200);
    for kid in ["a", "c"] {
        assert_eq!(world.publish(kid, &one()).await, 403, "{kid}");
        let back = world.to_put(kid, &one(), &two(), "b");
        assert_eq!(world.put(kid, &one(), &back).await, 403, "{kid}");
    }
    assert_eq!(world.status("b").await, 200);
}

fn approval_status(approval: Approval) -> u16 {
    match approval {
        Approval::Manual => 202,
        Approval::Automatic => 200,
    }
}
