//! Everything that a configuration asks for, from start to end.

use crate::admin::{self, Metrics, Readiness};
use crate::config::{Config, SignerProxy};
use crate::keys::{KeyKeeper, KeyStatus};
use crate::proxy::{Listener, Proxy, Settings};
use crate::socket_file::SocketFile;
use envoy::Envoy;
use envoy::verifier::{ListenAddress, SocketAddress, UnixSocket, VerifierProxy};
use std::io;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};
use transport::descriptors::DescriptorLimit;
use transport::files::FileError;

/// Why jwtproxy does not run, or runs no more.
#[derive(Debug, Error)]
pub enum RunError {
    /// The verifiers cannot be started.
    #[error(transparent)]
    Envoy(#[from] envoy::Error),
    /// Envoy has ended by itself.
    #[error("Envoy has ended unexpectedly ({0})")]
    EnvoyEnded(ExitStatus),
    /// The signer has no address to listen on.
    #[error("signer_proxy: cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: ListenAddress,
        /// Why.
        source: io::Error,
    },
    /// The folder of the signing keys cannot be used.
    #[error("signer_proxy: {0}")]
    Keys(#[from] FileError),
    /// The operating system refuses something that always works.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Runs until a signal asks for the end, or Envoy has failed. The end comes once requests in flight
/// have finished or have taken too long. A second signal ends everything at once.
pub async fn run(config: Config, options: &envoy::Options) -> Result<(), RunError> {
    let mut signals = Signals::listen()?;
    // Before Envoy, which inherits it.
    let descriptors = DescriptorLimit::raise();
    let signer = match config.signer {
        Some(signer) => Some(RunningSigner::start(signer, descriptors).await?),
        None => None,
    };
    let mut envoy = None;
    let outcome = tokio::select! {
        ended = run_verifiers(&mut envoy, &config.verifiers, options) => Err(ended),
        () = signals.next() => Ok(()),
    };
    match &outcome {
        Ok(()) => info!("shutting down; a second signal ends at once"),
        Err(problem) => error!("shutting down: {problem}"),
    }
    // Whatever has become of Envoy, the signer has been serving since before it was started.
    tokio::select! {
        () = finish(signer, envoy) => info!("jwtproxy has ended"),
        () = signals.next() => warn!("ended by a second signal"),
    }
    outcome
}

/// Keeps Envoy in `envoy` while it runs; returns only when there is none to run.
async fn run_verifiers(
    envoy: &mut Option<Envoy>,
    verifiers: &[VerifierProxy],
    options: &envoy::Options,
) -> RunError {
    match start_envoy(verifiers, options).await {
        Ok(started) => *envoy = started,
        Err(error) => return error.into(),
    }
    info!("jwtproxy is ready");
    let ended = envoy_ended(envoy).await;
    *envoy = None;
    ended
}

struct RunningSigner {
    keys: Option<KeyKeeper>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    readiness: Readiness,
    admin: Option<JoinHandle<()>>,
    /// Removed when it is dropped: in the end.
    _socket_file: Option<SocketFile>,
}

impl RunningSigner {
    async fn start(
        mut signer: SignerProxy,
        descriptors: DescriptorLimit,
    ) -> Result<Self, RunError> {
        for warning in &signer.warnings {
            warn!("signer_proxy: {warning}");
        }
        fit(&mut signer.settings, descriptors);
        let registries = signer.parts.policy.registries();
        for registry in registries.iter() {
            let registry = registry.as_str();
            info!("nothing is signed for the key registry {registry}: requests to it get 403");
        }
        if registries.iter().next().is_none() {
            info!(
                "no key registry is known: where one has keys of this service, list it in \
                 signer.registries, so that no client gets a token for it"
            );
        }
        // All that can be in somebody's way comes before the first key is made.
        let bound = Bound::new(&signer.listen).await?;
        let admin = match signer.admin {
            Some(address) => {
                let listener = bind(address).await?;
                let address = listener.local_addr()?;
                info!("signer admin listening on {address}");
                signer.parts.admin = Some(address);
                Some(listener)
            }
            None => None,
        };
        let request_signer = Arc::new(signer.signer);
        let metrics = Arc::clone(&signer.parts.metrics);
        let keys = match signer.keys {
            Some(settings) => {
                let rotate_every = settings.rotate_every;
                let keys = KeyKeeper::start(settings, Arc::clone(&request_signer))?;
                tokio::spawn(show_keys(keys.status(), rotate_every, Arc::clone(&metrics)));
                Some(keys)
            }
            None => {
                // A preshared key is there from the start.
                metrics.key_active(SystemTime::now(), None);
                None
            }
        };
        let readiness = Readiness::new({
            let request_signer = Arc::clone(&request_signer);
            move || request_signer.has_key()
        });
        let admin = admin.map(|listener| {
            let serving = admin::serve(listener, metrics, readiness.clone());
            tokio::spawn(serving)
        });
        let proxy = Proxy::new(request_signer, signer.parts, signer.settings);
        let (stop, stopped) = oneshot::channel();
        let (task, socket_file) = match bound {
            Bound::Tcp(listener) => (serve(proxy, listener, stopped), None),
            Bound::Unix(listener, file) => (serve(proxy, listener, stopped), Some(file)),
        };
        Ok(Self {
            keys,
            stop,
            task,
            readiness,
            admin,
            _socket_file: socket_file,
        })
    }

    async fn finish(self) {
        self.readiness.shut_down();
        // The proxy may have ended already.
        let _ = self.stop.send(());
        let proxy = async {
            if let Err(error) = self.task.await {
                error!("the signer has failed: {error}");
            }
        };
        let keys = async {
            if let Some(keys) = self.keys {
                keys.finish().await;
            }
        };
        tokio::join!(proxy, keys);
        // Up to here it says how the end goes.
        if let Some(admin) = self.admin {
            admin.abort();
        }
    }
}

/// Each connection of a client needs one to a server, or two with what others of its source leave
/// over, see [`Settings::max_upstream_connections`].
const DESCRIPTORS_PER_CONNECTION: u64 = 3;

/// So many connections to servers there may be for each of a client, which asks for several at a
/// time over HTTP/2.
const UPSTREAMS_PER_CONNECTION: usize = 4;

/// Takes no more connections than there are file descriptors for, and makes no more.
fn fit(settings: &mut Settings, descriptors: DescriptorLimit) {
    let wanted = settings.max_connections;
    let fitting = descriptors.connections(DESCRIPTORS_PER_CONNECTION, wanted);
    if fitting < wanted {
        let available = descriptors.descriptors();
        warn!(
            "signer_proxy: limits.connections is {wanted}, but the {available} file descriptors \
             of the process (RLIMIT_NOFILE, hard limit) are enough for {fitting}, which is the \
             limit now"
        );
        settings.max_connections = fitting;
    }
    let at_most = settings
        .max_connections
        .saturating_mul(1 + UPSTREAMS_PER_CONNECTION);
    let both = descriptors.connections(1, at_most);
    let upstream = both.saturating_sub(settings.max_connections);
    settings.max_upstream_connections = upstream.max(1);
}

/// Where clients come in.
enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Bound {
    async fn new(address: &ListenAddress) -> Result<Self, RunError> {
        match address {
            ListenAddress::Tcp(address) => bind(*address).await.map(Self::Tcp),
            ListenAddress::Unix(socket) => {
                let listener = bind_unix(socket)?;
                Ok(Self::Unix(listener, SocketFile::of(socket.path())))
            }
        }
    }
}

async fn bind(address: SocketAddress) -> Result<TcpListener, RunError> {
    TcpListener::bind(SocketAddr::new(address.ip, address.port))
        .await
        .map_err(|source| RunError::Listen {
            address: ListenAddress::Tcp(address),
            source,
        })
}

fn bind_unix(socket: &UnixSocket) -> Result<UnixListener, RunError> {
    let listen = || {
        let listener = socket.bind()?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    };
    listen().map_err(|source| RunError::Listen {
        address: ListenAddress::Unix(socket.clone()),
        source,
    })
}

fn serve(
    proxy: Proxy,
    listener: impl Listener + 'static,
    stopped: oneshot::Receiver<()>,
) -> JoinHandle<()> {
    info!("signer listening on {}", listener.address());
    tokio::spawn(async move {
        proxy.serve(listener, async { drop(stopped.await) }).await;
    })
}

async fn start_envoy(
    verifiers: &[VerifierProxy],
    options: &envoy::Options,
) -> Result<Option<Envoy>, envoy::Error> {
    if verifiers.is_empty() {
        return Ok(None);
    }
    let envoy = Envoy::start(verifiers, options).await?;
    for (verifier, address) in verifiers.iter().zip(envoy.addresses()) {
        let audience = verifier.rules.policy.audience.as_str();
        info!("verifier listening on {address}, for {audience}");
    }
    let socket = envoy.admin_socket().display();
    info!("verifier metrics: curl --unix-socket {socket} http://envoy/stats/prometheus");
    Ok(Some(envoy))
}

async fn envoy_ended(envoy: &mut Option<Envoy>) -> RunError {
    match envoy {
        Some(envoy) => match envoy.ended().await {
            Ok(status) => RunError::EnvoyEnded(status),
            Err(error) => error.into(),
        },
        None => std::future::pending().await,
    }
}

async fn finish(signer: Option<RunningSigner>, envoy: Option<Envoy>) {
    tokio::join!(
        async {
            if let Some(signer) = signer {
                signer.finish().await;
            }
        },
        async {
            if let Some(envoy) = envoy {
                envoy.shut_down().await;
            }
        }
    );
}

/// Lets the metrics follow the keys; ends with their keeper.
async fn show_keys(
    mut status: watch::Receiver<KeyStatus>,
    rotate_every: Option<Duration>,
    metrics: Arc<Metrics>,
) {
    loop {
        metrics.show_keys(&status.borrow_and_update(), rotate_every);
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
