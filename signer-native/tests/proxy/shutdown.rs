//! The end: requests in flight finish, everything else does not hold it up.

use crate::client::Client;
use crate::message::{empty, full, get, text, within};
use crate::running_proxy::RunningProxy;
use crate::upstream::Upstream;
use hyper::Response;
use signer_native::proxy::Settings;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

#[tokio::test]
async fn a_slow_request_finishes_while_new_clients_are_refused() {
    let mut proxy = RunningProxy::start().await;
    let (arrived, may_answer) = (signal(), signal());
    let upstream = Upstream::start({
        let (arrived, may_answer) = (Arc::clone(&arrived), Arc::clone(&may_answer));
        move |_| {
            let (arrived, may_answer) = (Arc::clone(&arrived), Arc::clone(&may_answer));
            async move {
                arrived.add_permits(1);
                may_answer.acquire().await.unwrap().forget();
                Response::new(full("slow"))
            }
        }
    })
    .await;
    let mut client = Client::connect(&proxy).await;
    let url = upstream.url("/");
    let response = tokio::spawn(async move { client.send(get(&url)).await });
    within(arrived.acquire()).await.unwrap().forget();

    proxy.shut_down();
    within(until_refused(&proxy)).await;
    assert!(!proxy.has_ended());
    may_answer.add_permits(1);

    let response = within(response).await.unwrap();
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(text(response).await, "slow");
    proxy.end().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_at_once() {
    let mut proxy = RunningProxy::start().await;
    let upstream = Upstream::start(async |_| Response::new(empty())).await;
    let mut used = Client::connect(&proxy).await;
    used.send(get(&upstream.url("/"))).await;
    let mut unused = Client::connect(&proxy).await;

    proxy.shut_down();
    proxy.end().await;
    used.closed().await;
    unused.closed().await;
}

#[tokio::test]
async fn what_outlasts_the_timeout_is_ended() {
    let mut proxy = RunningProxy::start_with(Settings {
        shutdown_timeout: Duration::from_millis(20),
        ..Settings::default()
    })
    .await;
    let arrived = signal();
    let upstream = Upstream::start({
        let arrived = Arc::clone(&arrived);
        move |_| {
            arrived.add_permits(1);
            pending()
        }
    })
    .await;
    let mut client = Client::connect(&proxy).await;
    let url = upstream.url("/");
    let response = tokio::spawn(async move { client.try_send(get(&url)).await });
    within(arrived.acquire()).await.unwrap().forget();

    proxy.shut_down();
    proxy.end().await;
    assert!(within(response).await.unwrap().is_err());
}

/// One that is remembered when it is given before it is awaited.
fn signal() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

async fn until_refused(proxy: &RunningProxy) {
    while TcpStream::connect(proxy.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
