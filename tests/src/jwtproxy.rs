//! The command `jwtproxy` as a process.

use crate::tools;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far beyond what a start or an end takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running `jwtproxy`. Dropped, it is killed, and its Envoy with it.
pub struct Jwtproxy {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Reads the log from the moment when jwtproxy is ready.
    reader: Option<JoinHandle<()>>,
    /// Where the signer listens, if there is one.
    pub signer: Option<SocketAddr>,
    /// Where the verifiers that have a port listen, in the order of the configuration.
    pub verifiers: Vec<SocketAddr>,
    folder: TempDir,
}

/// What became of a `jwtproxy` that was not meant to run on.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said.
    pub stderr: String,
}

impl Jwtproxy {
    /// Starts with this configuration and these files beside it (name, content), which the
    /// configuration can name as `$DIR/name`, and waits until it is ready.
    pub async fn start(yaml: &str, files: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::start_with(yaml, files, arguments, &[]).await
    }

    /// The same with these environment variables, whose values may name `$DIR` as well.
    pub async fn start_with(
        yaml: &str,
        files: &[(&str, &str)],
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let (folder, config) = write(yaml, files);
        let mut command = command(&config, arguments);
        command.envs(expanded(environment, &folder));
        Self::spawn(command, folder).await
    }

    /// The same as another user, which only root can start. That user can read the files.
    pub async fn start_as(user: u32, yaml: &str) -> Self {
        let (folder, config) = write(yaml, &[]);
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("our own folder");
        // The folder with the binaries may be closed to others.
        let copy = folder.path().join("jwtproxy");
        fs::copy(binary("jwtproxy"), &copy).expect("room for a copy");
        let mut command = run(&copy, &config, &[]);
        command.uid(user).gid(user);
        Self::spawn(command, folder).await
    }

    /// The same from a shell that first does something to itself: `umask 0`, `ulimit -n 1024`.
    pub async fn start_after(
        preparation: &str,
        yaml: &str,
        files: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        let (folder, config) = write(yaml, files);
        let plain = command(&config, arguments);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("{preparation} && exec \"$0\" \"$@\"")])
            .arg(plain.as_std().get_program())
            .args(plain.as_std().get_args());
        prepare(&mut shell, &config);
        Self::spawn(shell, folder).await
    }

    async fn spawn(mut command: Command, folder: TempDir) -> Self {
        let mut child = command.spawn().expect("jwtproxy starts");
        let stderr = child.stderr.take().expect("a pipe");
        let log = Arc::default();
        let mut this = Self {
            child,
            log,
            reader: None,
            signer: None,
            verifiers: Vec::new(),
            folder,
        };
        let ready = timeout(PATIENCE, this.read_until_ready(stderr)).await;
        assert!(
            matches!(ready, Ok(true)),
            "jwtproxy is not ready:\n{}",
            this.log()
        );
        this
    }

    /// Runs to the end.
    pub async fn run(yaml: &str, files: &[(&str, &str)]) -> Finished {
        Self::run_with(yaml, files, &[]).await
    }

    /// The same with these environment variables.
    pub async fn run_with(
        yaml: &str,
        files: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Finished {
        let (folder, config) = write(yaml, files);
        finished(command(&config, &[]).envs(expanded(environment, &folder))).await
    }

    /// Runs to the end with a configuration file that need not be there.
    pub async fn run_file(config: &Path) -> Finished {
        finished(&mut command(config, &[])).await
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The socket of its Envoy's admin interface.
    pub fn admin_socket(&self) -> PathBuf {
        let log = self.log();
        let (_, rest) = log.split_once("--unix-socket ").expect("a verifier");
        rest.split(' ').next().unwrap_or_default().into()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("\n")
    }

    /// The most memory that it ever had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let pid = self.child.id().expect("a running process");
        tools::peak_memory(pid)
    }

    /// Sends SIGTERM, as a service manager does.
    pub async fn terminate(&self) {
        let pid = self.child.id().expect("a running process").to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().await;
        assert!(status.expect("kill").success());
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a running process");
    }

    /// Waits until it has said this.
    pub async fn says(&self, words: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.log().contains(words) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{words:?} is not in\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills the Envoy that it runs.
    pub async fn kill_envoy(&self) {
        let pid = self.child.id().expect("a running process").to_string();
        let status = Command::new("pkill")
            .args(["-KILL", "-P", &pid])
            .status()
            .await;
        assert!(status.expect("pkill").success());
    }

    /// Waits for the end, and for the last line of the log.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("jwtproxy does not end:\n{}", self.log()));
        if let Some(reader) = self.reader.take() {
            // A process that jwtproxy left behind may keep the pipe open: that is for others to find.
            let _ = timeout(Duration::from_secs(5), reader).await;
        }
        status.expect("a status")
    }

    async fn read_until_ready(&mut self, stderr: ChildStderr) -> bool {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            push(&self.log, &line);
            if let Some(address) = address_after(&line, "signer listening on ") {
                self.signer = Some(address);
            } else if let Some(address) = address_after(&line, "verifier listening on ") {
                self.verifiers.push(address);
            } else if line.contains("jwtproxy is ready") {
                let log = self.log.clone();
                self.reader = Some(tokio::spawn(async move {
                    while let Ok(Some(line)) = lines.next_line().await {
                        push(&log, &line);
                    }
                }));
                return true;
            }
        }
        false
    }
}

async fn finished(command: &mut Command) -> Finished {
    let output = timeout(PATIENCE, command.output()).await;
    let output = output.expect("jwtproxy ends").expect("jwtproxy starts");
    Finished {
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The variables with `$DIR` in their values filled in.
fn expanded(environment: &[(&str, &str)], folder: &TempDir) -> Vec<(String, String)> {
    let folder = folder.path().to_string_lossy();
    let fill = |(name, value): &(&str, &str)| ((*name).to_owned(), value.replace("$DIR", &folder));
    environment.iter().map(fill).collect()
}

fn push(log: &Mutex<Vec<String>>, line: &str) {
    log.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(line.to_owned());
}

fn address_after(line: &str, words: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(words)?;
    rest.split([',', ' ', '"']).next()?.parse().ok()
}

fn write(yaml: &str, files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    // Whatever the umask of the tests is; other users may look into it.
    let folder = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .expect("a temporary folder");
    for (name, content) in files {
        fs::write(folder.path().join(name), content).expect("a file");
    }
    let config = folder.path().join("config.yaml");
    let yaml = yaml.replace("$DIR", &folder.path().to_string_lossy());
    fs::write(&config, yaml).expect("a file");
    (folder, config)
}

fn command(config: &Path, arguments: &[&str]) -> Command {
    run(&binary("jwtproxy"), config, arguments)
}

fn run(binary: &Path, config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.arg("-config").arg(config).args(arguments);
    prepare(&mut command, config);
    command
}

fn prepare(command: &mut Command, config: &Path) {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        // What it cannot clear away when it is killed goes with the test's own folder.
        .env("TMPDIR", config.parent().unwrap_or(Path::new(".")));
}

/// A binary that was built with this test.
pub fn binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a path");
    let found = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name));
    let found = found.into_iter().find(|path| path.is_file());
    found.expect("the binaries beside the tests: run `make test`, or `cargo build` first")
}
