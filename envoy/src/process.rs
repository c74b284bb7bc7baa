//! The Envoy process, from start to end.

use crate::admin::Admin;
use crate::bootstrap::{self, Files, listener_name};
use crate::connections::{Limits, Watch};
use crate::folder::{PrivateFolder, TemporaryFolder};
use crate::log::{self, Tail};
use crate::reload::Reloader;
use crate::reservation::{SocketFiles, reserve};
use crate::verifier::{BoundAddress, CertificateFiles, VerifierProxy};
use crate::{Error, FILTER_WASM, locate};
use jwt_core::seal::Secret;
use rustix::fs::Mode;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal, umask};
use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{io, thread};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};
use transport::descriptors::DescriptorLimit;

/// V8 compiles the filter at the start; on a small and busy machine that takes its time.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often Envoy is asked how far it is.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// How long the rest of the log of an Envoy that has ended may take to arrive.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);

/// How long Envoy may take to end once told to.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How Envoy is to run.
#[derive(Clone)]
pub struct Options {
    /// Worker threads; Envoy's default is one for each hardware thread.
    pub workers: Option<u32>,
    /// The filter's module.
    pub filter: Cow<'static, [u8]>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: None,
            filter: FILTER_WASM.into(),
        }
    }
}

/// A running Envoy. Dropped, it is killed.
pub struct Envoy {
    child: Child,
    admin: Admin,
    addresses: Vec<BoundAddress>,
    shutdown_timeout: Duration,
    _reloader: Option<Reloader>,
    _watch: Watch,
    /// Envoy leaves its sockets behind.
    _sockets: SocketFiles,
    /// Envoy's files; they go with it.
    _folder: TemporaryFolder,
}

impl Envoy {
    /// Starts Envoy with these verifiers and waits until it takes requests.
    pub async fn start(verifiers: &[VerifierProxy], options: &Options) -> Result<Self, Error> {
        let binary = locate::envoy()?;
        let sockets = reserve(verifiers)?;
        let folder = TemporaryFolder::create().map_err(Error::Files)?;
        let limits = limits(verifiers, options);
        let socket = folder.socket("admin.sock").map_err(Error::Files)?;
        let (bootstrap, secrets) = write_files(&folder, &socket, verifiers, options, limits)?;
        info!(
            "starting {} for {} verifier(s)",
            binary.display(),
            verifiers.len()
        );
        let mut child = command(&binary, &bootstrap, options)
            .spawn()
            .map_err(|source| Error::Spawn {
                path: binary,
                source,
            })?;
        let tail = Tail::default();
        let log_ended = pass_on_log(child.stderr.take(), tail.clone()).map_err(Error::Log)?;
        let admin = Admin::new(socket);
        if let Some(status) = wait_until_ready(&mut child, &admin).await? {
            let _ = timeout(LOG_TIMEOUT, log_ended).await;
            return Err(Error::EndedAtStart {
                status: status.to_string(),
                log: tail.text(),
            });
        }
        let shutdown_timeout = verifiers.iter().map(|v| v.shutdown_timeout).max();
        let mut envoy = Self {
            child,
            _watch: Watch::start(admin.clone(), limits),
            admin,
            addresses: Vec::new(),
            shutdown_timeout: shutdown_timeout.unwrap_or_default(),
            _reloader: Reloader::start(certificates(verifiers), secrets),
            _sockets: sockets,
            _folder: folder,
        };
        envoy.addresses = envoy.find_addresses(verifiers.len()).await?;
        Ok(envoy)
    }

    /// Where the verifiers listen, in the order of the configuration.
    pub fn addresses(&self) -> &[BoundAddress] {
        &self.addresses
    }

    /// The socket of the admin interface, which speaks HTTP and is open to this user alone.
    pub fn admin_socket(&self) -> &Path {
        self.admin.socket()
    }

    /// Envoy's process, until it has ended.
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for Envoy to end by itself, which it never should.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Takes no new requests, waits for those in flight up to the longest `shutdown_timeout`, and
    /// ends Envoy.
    pub async fn shut_down(mut self) {
        match timeout(self.shutdown_timeout, self.drain()).await {
            Ok(Ok(())) => debug!("all requests have finished"),
            Ok(Err(error)) => warn!("{error}; ending Envoy at once"),
            Err(_) => warn!("requests still in flight after {:?}", self.shutdown_timeout),
        }
        self.end().await;
    }

    async fn drain(&self) -> Result<(), Error> {
        self.admin.drain().await?;
        while self.admin.active_requests().await? > 0 {
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    async fn end(&mut self) {
        terminate(&self.child);
        if timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            warn!("Envoy does not end; killing it");
            let _ = self.child.kill().await;
        }
    }

    async fn find_addresses(&self, count: usize) -> Result<Vec<BoundAddress>, Error> {
        let listeners = self.admin.listeners().await?;
        let address_of = |index| {
            let name = listener_name(index);
            let found = listeners.iter().find(|(own, _)| *own == name);
            found
                .map(|(_, address)| address.clone())
                .ok_or_else(|| Error::Admin(format!("there is no listener {name}")))
        };
        (0..count).map(address_of).collect()
    }
}

/// Envoy inherits the descriptor limit.
fn limits(verifiers: &[VerifierProxy], options: &Options) -> Limits {
    let descriptors = DescriptorLimit::raise();
    let workers = options.workers.map_or_else(
        || thread::available_parallelism().map_or(1, usize::from),
        |workers| workers as usize,
    );
    let limits = Limits::new(descriptors, workers, verifiers.len());
    if let Some(warning) = limits.warning(descriptors) {
        warn!("{warning}");
    }
    limits
}

fn pass_on_log(stderr: Option<ChildStderr>, tail: Tail) -> io::Result<oneshot::Receiver<()>> {
    let stderr = stderr.ok_or(io::ErrorKind::BrokenPipe)?;
    log::pass_on(File::from(stderr.into_owned_fd()?), tail)
}

/// The verifiers' certificates, each with the verifier's index.
fn certificates(verifiers: &[VerifierProxy]) -> Vec<(usize, CertificateFiles)> {
    let all = verifiers.iter().enumerate();
    all.filter_map(|(index, verifier)| Some((index, verifier.certificate.clone()?)))
        .collect()
}

/// Writes what Envoy reads; returns the bootstrap's file and the folder of the secrets.
fn write_files(
    folder: &PrivateFolder,
    admin_socket: &Path,
    verifiers: &[VerifierProxy],
    options: &Options,
    limits: Limits,
) -> Result<(PathBuf, PrivateFolder), Error> {
    let secrets = folder.create_folder("secrets").map_err(Error::Files)?;
    let filter_wasm = folder.create_file("jwtproxy-filter.wasm", &options.filter);
    let ca_bundle = locate::ca_bundle();
    let files = Files {
        filter_wasm: &filter_wasm.map_err(Error::Files)?,
        admin_socket,
        secrets: secrets.path(),
        ca_bundle: ca_bundle.as_deref(),
        shared_data_secret: Some(&random_secret()?),
    };
    let tree = bootstrap::bootstrap(verifiers, files, limits)?;
    let write = || {
        for (index, certificate) in certificates(verifiers) {
            // Files that cannot be used, since they have changed, are for Envoy to report.
            let for_envoy = certificate.check().unwrap_or_default();
            let (name, secret) =
                bootstrap::secret_file(index, &certificate, &for_envoy, secrets.path());
            secrets.create_file(&name, secret.to_string().as_bytes())?;
        }
        folder.create_file("bootstrap.json", format!("{tree:#}").as_bytes())
    };
    let bootstrap = write().map_err(Error::Files)?;
    Ok((bootstrap, secrets))
}

/// A secret for this Envoy alone: what it seals dies with it.
fn random_secret() -> Result<Secret, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Files(std::io::Error::other(error.to_string())))?;
    let text = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Secret::new(text).ok_or_else(|| Error::Files(std::io::ErrorKind::InvalidData.into()))
}

fn command(binary: &Path, bootstrap: &Path, options: &Options) -> Command {
    let mut command = Command::new(binary);
    command
        .arg("--config-path")
        .arg(bootstrap)
        .arg("--disable-hot-restart")
        .args(log::FORMAT)
        .args(log::levels())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(workers) = options.workers {
        command.arg("--concurrency").arg(workers.to_string());
    }
    before_exec(&mut command);
    command
}

/// Returns the status if it ends instead.
async fn wait_until_ready(child: &mut Child, admin: &Admin) -> Result<Option<ExitStatus>, Error> {
    let started = Instant::now();
    while !admin.is_ready().await {
        if let Ok(Some(status)) = child.try_wait() {
            return Ok(Some(status));
        }
        if started.elapsed() > START_TIMEOUT {
            return Err(Error::NotReady(START_TIMEOUT));
        }
        sleep(POLL_INTERVAL).await;
    }
    debug!("Envoy was ready after {:?}", started.elapsed());
    Ok(None)
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    if let Some(pid) = pid {
        // It may have ended by itself in the meantime.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// A key press of Ctrl-C is for us alone, and we end Envoy in good order; but when we are killed
/// without a chance to do so, Envoy must not stay. Its sockets get their modes after they are bound,
/// and must not be open to others until then.
#[expect(
    unsafe_code,
    reason = "pre_exec; the closure makes system calls alone, which is safe there"
)]
fn before_exec(command: &mut Command) {
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; umask and prctl are.
    unsafe {
        command.pre_exec(|| {
            umask(Mode::RWXG | Mode::RWXO);
            Ok(set_parent_process_death_signal(Some(Signal::TERM))?)
        });
    }
}
