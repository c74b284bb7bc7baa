//! The proxy under test.

use crate::message::within;
use jwt_core::issue::Issuer;
use signer_native::proxy::{Listener, Parts, Proxy, Settings};
use signer_native::signing::{RequestSigner, SigningKey};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A proxy that signs as `my-service` with `my-key`; stopped at once when dropped.
pub(crate) struct RunningProxy {
    pub(crate) address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl RunningProxy {
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        Self::start_from(Parts::default(), settings).await
    }

    pub(crate) async fn start_from(parts: Parts, settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, signal) = oneshot::channel();
        let task = tokio::spawn(serve(listener, parts, settings, signal));
        Self {
            address,
            shutdown: Some(shutdown),
            task,
        }
    }

    /// Begins the graceful shutdown.
    pub(crate) fn shut_down(&mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    pub(crate) async fn end(&mut self) {
        within(&mut self.task).await.unwrap();
    }
}

impl Drop for RunningProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn serve(
    listener: impl Listener,
    parts: Parts,
    settings: Settings,
    shutdown: oneshot::Receiver<()>,
) {
    let proxy = Proxy::new(Arc::new(signer()), parts, settings);
    let signal = async {
        let _ = shutdown.await;
    };
    proxy.serve(listener, signal).await;
}

fn signer() -> RequestSigner {
    let key = SigningKey::from_pem(include_bytes!("../keys/pkcs8.pem")).unwrap();
    let issuer = Issuer {
        algorithm: key.algorithm(),
        key_id: "my-key".into(),
        issuer: "my-service".into(),
        expiration_time: Duration::from_secs(300),
        max_skew: Duration::from_secs(60),
    };
    RequestSigner::new(key, issuer, 32)
}
