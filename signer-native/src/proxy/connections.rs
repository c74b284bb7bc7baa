//! The connections of clients, from their acceptance to the end of the shutdown.

use super::Settings;
use super::forward::Forwarder;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, error, warn};

/// All open connections; dropping it ends them at once.
pub(super) struct Connections {
    http: http1::Builder,
    forwarder: Arc<Forwarder>,
    graceful: GracefulShutdown,
    tasks: JoinSet<()>,
}

impl Connections {
    pub(super) fn new(forwarder: Forwarder, settings: &Settings) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(settings.header_read_timeout)
            .preserve_header_case(true)
            .title_case_headers(true);
        Self {
            http,
            forwarder: Arc::new(forwarder),
            graceful: GracefulShutdown::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Serves a connection until either side closes it.
    pub(super) fn serve(&mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let forwarder = Arc::clone(&self.forwarder);
        let service = service_fn(move |request| {
            let forwarder = Arc::clone(&forwarder);
            async move { Ok::<_, Infallible>(forwarder.answer(request).await) }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let connection = self.graceful.watch(connection);
        self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "connection ended");
            }
        });
    }

    /// Waits for the end of any one connection; for ever when there is none.
    pub(super) async fn any_ended(&mut self) {
        match self.tasks.join_next().await {
            Some(Err(error)) if error.is_panic() => error!(%error, "connection failed"),
            Some(_) => {}
            None => std::future::pending().await,
        }
    }

    /// Closes idle connections now, busy ones after their response, and all when `patience` ends.
    pub(super) async fn finish(mut self, patience: Duration) {
        if timeout(patience, self.graceful.shutdown()).await.is_err() {
            let connections = self.tasks.len();
            warn!(
                connections,
                "shutdown timeout passed, ending open connections"
            );
            self.tasks.shutdown().await;
        }
    }
}
