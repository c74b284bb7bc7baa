//! The Envoy process, from start to end.

use crate::admin::Admin;
use crate::bootstrap::{self, Files, listener_name};
use crate::log::{self, Tail};
use crate::reload::Reloader;
use crate::reservation::{SocketFiles, reserve};
use crate::verifier::{BoundAddress, CertificateFiles, VerifierProxy};
use crate::{Error, FILTER_WASM, locate};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

/// V8 compiles the filter at the start; on a small and busy machine that takes its time.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often Envoy is asked how far it is.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

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
    _reloader: Reloader,
    /// Envoy leaves its sockets behind.
    _sockets: SocketFiles,
    /// Envoy's files; they go with it.
    _folder: TempDir,
}

impl Envoy {
    /// Starts Envoy with these verifiers and waits until it takes requests.
    pub async fn start(verifiers: &[VerifierProxy], options: &Options) -> Result<Self, Error> {
        let binary = locate::envoy()?;
        let sockets = reserve(verifiers)?;
        // Private to this user, and short enough for a socket's name.
        let folder = tempfile::Builder::new()
            .prefix("jwtproxy-")
            .tempdir()
            .map_err(Error::Files)?;
        let socket = folder.path().join("admin.sock");
        let bootstrap = write_files(folder.path(), &socket, verifiers, &options.filter)?;
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
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log::pass_on(stderr, tail.clone()));
        }
        let admin = Admin::new(socket);
        wait_until_ready(&mut child, &admin, &tail).await?;
        let shutdown_timeout = verifiers.iter().map(|v| v.shutdown_timeout).max();
        let mut envoy = Self {
            child,
            admin,
            addresses: Vec::new(),
            shutdown_timeout: shutdown_timeout.unwrap_or_default(),
            _reloader: Reloader::start(certificates(verifiers), secrets(folder.path())),
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

fn secrets(folder: &Path) -> PathBuf {
    folder.join("secrets")
}

/// The verifiers' certificates, each with the verifier's index.
fn certificates(verifiers: &[VerifierProxy]) -> Vec<(usize, CertificateFiles)> {
    let all = verifiers.iter().enumerate();
    all.filter_map(|(index, verifier)| Some((index, verifier.certificate.clone()?)))
        .collect()
}

fn write_files(
    folder: &Path,
    admin_socket: &Path,
    verifiers: &[VerifierProxy],
    filter: &[u8],
) -> Result<PathBuf, Error> {
    let (filter_wasm, secrets) = (folder.join("jwtproxy-filter.wasm"), secrets(folder));
    let ca_bundle = locate::ca_bundle();
    let files = Files {
        filter_wasm: &filter_wasm,
        admin_socket,
        secrets: &secrets,
        ca_bundle: ca_bundle.as_deref(),
    };
    let tree = bootstrap::bootstrap(verifiers, files)?;
    let bootstrap = folder.join("bootstrap.json");
    let write = || {
        fs::write(&filter_wasm, filter)?;
        fs::create_dir(&secrets)?;
        for (index, certificate) in certificates(verifiers) {
            let (path, secret) = bootstrap::secret_file(index, &certificate, &secrets);
            fs::write(path, secret.to_string())?;
        }
        fs::write(&bootstrap, format!("{tree:#}"))
    };
    write().map_err(Error::Files)?;
    Ok(bootstrap)
}

fn command(binary: &Path, bootstrap: &Path, options: &Options) -> Command {
    let mut command = Command::new(binary);
    command
        .arg("--config-path")
        .arg(bootstrap)
        .args(["--disable-hot-restart", "--log-format", log::FORMAT])
        .args(log::levels())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(workers) = options.workers {
        command.arg("--concurrency").arg(workers.to_string());
    }
    die_with_parent(&mut command);
    command
}

async fn wait_until_ready(child: &mut Child, admin: &Admin, tail: &Tail) -> Result<(), Error> {
    let started = Instant::now();
    while !admin.is_ready().await {
        if let Ok(Some(status)) = child.try_wait() {
            // The rest of the log may still be on its way.
            sleep(POLL_INTERVAL).await;
            return Err(Error::EndedAtStart {
                status: status.to_string(),
                log: tail.text(),
            });
        }
        if started.elapsed() > START_TIMEOUT {
            return Err(Error::NotReady(START_TIMEOUT));
        }
        sleep(POLL_INTERVAL).await;
    }
    debug!("Envoy was ready after {:?}", started.elapsed());
    Ok(())
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    if let Some(pid) = pid {
        // It may have ended by itself in the meantime.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// A key press of Ctrl-C is for us alone, and we end Envoy in good order; but when we are killed
/// without a chance to do so, Envoy must not stay.
#[expect(
    unsafe_code,
    reason = "pre_exec; the closure makes one system call, which is safe there"
)]
fn die_with_parent(command: &mut Command) {
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl is one.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
    }
}
