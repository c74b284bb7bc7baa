//! Connections that are begun before a request asks for them.

use super::dial::{BoxError, BoxFuture};
use http::Uri;
use http::uri::Scheme;
use jwt_core::authority::HostAndPort;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tower_service::Service;

/// How long a connection waits for its request, from when it was begun. A client that has seen a
/// certificate has sent its request by then, and hardly a server has closed the connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many wait for their requests at a time: clients that send none shall not cost servers and
/// this machine more than that.
const MOST: usize = 100;

/// A connector for `https` that may have begun already.
#[derive(Debug)]
pub(super) struct Ahead<C: Service<Uri>> {
    inner: C,
    begun: Arc<Begun<C::Response>>,
}

/// By host and port.
type Begun<T> = Mutex<HashMap<(String, u16), Connecting<T>>>;

/// Given up when it is dropped.
type Connecting<T> = AbortOnDropHandle<Result<T, BoxError>>;

impl<C: Service<Uri> + Clone> Clone for Ahead<C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            begun: Arc::clone(&self.begun),
        }
    }
}

impl<C> Ahead<C>
where
    C: Service<Uri, Error = BoxError> + Clone + Send + 'static,
    C::Response: Send + 'static,
    C::Future: Send,
{
    pub(super) fn new(inner: C) -> Self {
        Self {
            inner,
            begun: Arc::default(),
        }
    }

    /// Connects to the host of an `https` URL; the first who asks for it gets the connection, or
    /// the reason why there is none. Nothing happens where one to that host is waiting already.
    pub(super) fn begin(&self, uri: Uri) {
        let Some(server) = server(&uri) else { return };
        let begun = Arc::clone(&self.begun);
        let mut all = begun.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST || all.contains_key(&server) {
            return;
        }
        let connecting = tokio::spawn(self.inner.clone().call(uri));
        let id = connecting.id();
        all.insert(server.clone(), AbortOnDropHandle::new(connecting));
        drop(all);
        tokio::spawn(async move {
            sleep(PATIENCE).await;
            let mut all = begun.lock().unwrap_or_else(PoisonError::into_inner);
            // It may have been taken, and another one begun since.
            if (all.get(&server)).is_some_and(|waiting| waiting.as_ref().id() == id) {
                all.remove(&server);
            }
        });
    }

    fn take(&self, uri: &Uri) -> Option<Connecting<C::Response>> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.is_empty() {
            return None;
        }
        begun.remove(&server(uri)?)
    }
}

impl<C> Service<Uri> for Ahead<C>
where
    C: Service<Uri, Error = BoxError> + Clone + Send + 'static,
    C::Response: Send + 'static,
    C::Future: Send,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = BoxFuture<C::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self.take(&uri) {
            Some(begun) => Box::pin(async { begun.await? }),
            None => Box::pin(self.inner.call(uri)),
        }
    }
}

/// However it is written.
fn server(uri: &Uri) -> Option<(String, u16)> {
    let authority = HostAndPort::parse(uri.authority()?.as_str())?;
    let is_https = uri.scheme() == Some(&Scheme::HTTPS);
    let port = authority.port().unwrap_or(443);
    is_https.then(|| (authority.host().to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{Ready, pending, ready};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Counts its connections, and gives each its number.
    #[derive(Clone, Debug, Default)]
    struct Counting(Arc<AtomicU32>);

    impl Service<Uri> for Counting {
        type Response = u32;
        type Error = BoxError;
        type Future = Ready<Result<u32, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            ready(Ok(self.0.fetch_add(1, Ordering::SeqCst)))
        }
    }

    /// Never gets any further with a connection; each attempt holds one of these.
    #[derive(Clone, Debug, Default)]
    struct Hanging(Arc<()>);

    impl Hanging {
        fn attempts(&self) -> usize {
            // Less this one and the one of the connector.
            Arc::strong_count(&self.0) - 2
        }
    }

    impl Service<Uri> for Hanging {
        type Response = ();
        type Error = BoxError;
        type Future = BoxFuture<()>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            let attempt = Arc::clone(&self.0);
            Box::pin(async move {
                let _attempt = attempt;
                pending().await
            })
        }
    }

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn what_was_begun_is_used_once_and_for_its_server_only() {
        let mut ahead = Ahead::new(Counting::default());
        ahead.begin(uri("https://a.test:443/"));
        tokio::task::yield_now().await;
        assert_eq!(ahead.call(uri("http://a.test:443/")).await.unwrap(), 1);
        assert_eq!(ahead.call(uri("https://a.test:8443/")).await.unwrap(), 2);
        assert_eq!(ahead.call(uri("https://A.test/")).await.unwrap(), 0);
        assert_eq!(ahead.call(uri("https://a.test/")).await.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_is_closed() {
        let mut ahead = Ahead::new(Counting::default());
        ahead.begin(uri("https://a.test/"));
        sleep(2 * PATIENCE).await;
        assert_eq!(ahead.call(uri("https://a.test/")).await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_there_yet_is_given_up_as_well() {
        let server = Hanging::default();
        let ahead = Ahead::new(server.clone());
        ahead.begin(uri("https://a.test/"));
        assert_eq!(server.attempts(), 1);
        sleep(2 * PATIENCE).await;
        assert_eq!(server.attempts(), 0);
    }

    #[tokio::test]
    async fn only_so_many_are_begun_and_of_one_server_one() {
        let server = Hanging::default();
        let ahead = Ahead::new(server.clone());
        for _ in 0..2 {
            ahead.begin(uri("https://a.test/"));
        }
        assert_eq!(server.attempts(), 1);
        for port in 1..=2 * MOST {
            ahead.begin(uri(&format!("https://a.test:{port}/")));
        }
        assert_eq!(server.attempts(), MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_its_own_patience() {
        let mut ahead = Ahead::new(Counting::default());
        ahead.begin(uri("https://a.test/"));
        sleep(PATIENCE * 3 / 4).await;
        assert_eq!(ahead.call(uri("https://a.test/")).await.unwrap(), 0);
        ahead.begin(uri("https://a.test/"));
        sleep(PATIENCE / 2).await;
        assert_eq!(ahead.call(uri("https://a.test/")).await.unwrap(), 1);
        assert_eq!(ahead.call(uri("https://a.test/")).await.unwrap(), 2);
    }
}
