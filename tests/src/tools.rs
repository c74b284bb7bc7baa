//! Clients that are nobody's of ours: curl, OpenSSL, Python, and WebSocket messages.

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// What a program said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its output.
    pub stdout: String,
    /// Its complaints.
    pub stderr: String,
}

impl Said {
    /// The output of a program that succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }
}

/// Runs a program of the machine to its end.
pub async fn run(program: &str, arguments: &[&str], input: &str) -> Said {
    let mut child = Command::new(program)
        .args(arguments)
        // The proxy is the one that the test names.
        .env_remove("http_proxy")
        .env_remove("https_proxy")
        .env_remove("HTTPS_PROXY")
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    // A program that does not read its input has what it needs.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = timeout(Duration::from_secs(60), child.wait_with_output()).await;
    let output = output.expect("an end").expect("output");
    Said {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// curl through that proxy, with that authority as its only one.
pub async fn curl(proxy: &str, authority: &str, arguments: &[&str]) -> Said {
    let fixed = [
        "-sS",
        "--max-time",
        "30",
        "-x",
        proxy,
        "--cacert",
        authority,
    ];
    run("curl", &[&fixed, arguments].concat(), "").await
}

/// A Python program.
pub async fn python(program: &str, arguments: &[&str]) -> Said {
    run("python3", &[&["-c", program], arguments].concat(), "").await
}

/// Sends every message back, until the other side closes.
pub async fn echo_messages<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    while let Some(message) = receive(socket).await {
        if !message.is_text() && !message.is_binary() {
            continue;
        }
        if send(socket, message).await.is_err() {
            return;
        }
    }
}

/// The next message, if there is one.
pub async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
) -> Option<Message> {
    socket.next().await?.ok()
}

/// Sends a message.
pub async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    message: Message,
) -> Result<(), Error> {
    socket.send(message).await
}

/// A connection of whatever kind.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// TLS over a connection to `name`, with that authority (PEM) as the only one to trust.
pub async fn tls_client<S: Stream>(
    stream: S,
    name: &str,
    authority: &[u8],
) -> tokio_rustls::client::TlsStream<S> {
    let connecting = try_tls_client(stream, name, authority).await;
    connecting.expect("a handshake")
}

/// The same with a server that may refuse.
pub async fn try_tls_client<S: Stream>(
    stream: S,
    name: &str,
    authority: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<S>> {
    try_tls_client_with(stream, name, authority, &[]).await
}

/// The same with a client that offers protocols (ALPN).
pub async fn try_tls_client_with<S: Stream>(
    stream: S,
    name: &str,
    authority: &[u8],
    protocols: &[&str],
) -> std::io::Result<tokio_rustls::client::TlsStream<S>> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority).expect("a certificate");
    roots.add(authority).expect("a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().into()).collect();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// The most memory that a process has used so far, in bytes.
pub fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    kilobytes
        .and_then(|kb| kb.parse::<u64>().ok())
        .expect("a number")
        << 10
}
