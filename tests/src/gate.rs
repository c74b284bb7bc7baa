//! A way to a peer that can be barred: forwards HTTP requests, or delays, loses or spoils them.

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// What becomes of a request.
#[derive(Clone, Debug, Default)]
pub enum Fault {
    /// It is forwarded, and its answer comes back.
    #[default]
    None,
    /// It is never forwarded, and never answered.
    HoldRequest,
    /// It is forwarded, and the answer never comes back.
    HoldAnswer,
    /// Its connection is closed without an answer.
    Close,
    /// It is forwarded after a while.
    Delay(Duration),
    /// It is answered with this, and never forwarded.
    Answer(u16, &'static str),
}

/// A running gate.
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    target: Mutex<Option<SocketAddr>>,
    faults: Mutex<HashMap<Method, Fault>>,
    /// Each request twice: when it comes, and with the status when its peer has answered.
    seen: Mutex<Vec<(Method, Option<u16>)>>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Gate {
    /// Starts on a free port, leading nowhere yet.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            target: Mutex::default(),
            faults: Mutex::default(),
            seen: Mutex::default(),
            client: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build_http(),
        });
        let task = tokio::spawn(serve(listener, shared.clone()));
        Self {
            address,
            shared,
            task,
        }
    }

    /// The base URL that clients are given.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where requests are forwarded to.
    pub fn lead_to(&self, target: SocketAddr) {
        *lock(&self.shared.target) = Some(target);
    }

    /// What becomes of requests with this method from now on.
    pub fn set(&self, method: Method, fault: Fault) {
        lock(&self.shared.faults).insert(method, fault);
    }

    /// What becomes of all requests from now on.
    pub fn set_all(&self, fault: &Fault) {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            self.set(method, fault.clone());
        }
    }

    /// How many requests with this method have come.
    pub fn count(&self, method: &Method) -> usize {
        let seen = lock(&self.shared.seen);
        let arrived =
            |(found, answer): &&(Method, Option<u16>)| found == method && answer.is_none();
        seen.iter().filter(arrived).count()
    }

    /// Waits for more requests with this method than that.
    pub async fn wait_for_more(&self, method: &Method, than: usize) {
        wait_until("a request", || self.count(method) > than).await;
    }

    /// Waits until the peer has answered a request with this method with this status, whether the
    /// answer was passed on or not.
    pub async fn wait_for_answer(&self, method: &Method, status: u16) {
        let answered = || lock(&self.shared.seen).contains(&(method.clone(), Some(status)));
        wait_until("an answer", answered).await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until something is so.
pub async fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let service = service_fn(move |request| answer(request, shared.clone()));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> io::Result<Response<Full<Bytes>>> {
    let method = request.method().clone();
    let fault = lock(&shared.faults)
        .get(&method)
        .cloned()
        .unwrap_or_default();
    lock(&shared.seen).push((method.clone(), None));
    match fault {
        Fault::HoldRequest => std::future::pending().await,
        Fault::Close => return Err(io::Error::other("closed on purpose")),
        Fault::Delay(delay) => sleep(delay).await,
        Fault::Answer(status, body) => {
            let mut response = Response::new(Full::from(body));
            *response.status_mut() = status.try_into().expect("a status");
            return Ok(response);
        }
        Fault::None | Fault::HoldAnswer => {}
    }
    let response = forward(request, &shared).await?;
    lock(&shared.seen).push((method, Some(response.status().as_u16())));
    match fault {
        Fault::HoldAnswer => std::future::pending().await,
        _ => Ok(response),
    }
}

async fn forward(request: Request<Incoming>, shared: &Shared) -> io::Result<Response<Full<Bytes>>> {
    let target = lock(&shared.target).ok_or_else(|| io::Error::other("leads nowhere"))?;
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = format!("http://{target}{path}")
        .parse::<Uri>()
        .expect("a URL");
    let request = Request::from_parts(head, Full::from(body));
    let response = shared.client.request(request).await;
    let (head, body) = response.map_err(io::Error::other)?.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Response::from_parts(head, Full::from(body)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
