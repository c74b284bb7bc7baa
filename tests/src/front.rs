//! What stands before a server that speaks plain HTTP on a port: TLS, or a unix socket.

use crate::certificates::Identity;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Passes bytes on both ways.
pub struct Front {
    address: Option<SocketAddr>,
    hellos: Arc<Mutex<Vec<Hello>>>,
    task: JoinHandle<()>,
}

/// What a client asked for in its handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The name it gave for the server.
    pub server_name: Option<String>,
    /// The protocol the two agreed on.
    pub protocol: Option<String>,
}

impl Front {
    /// Terminates TLS before `target`.
    pub async fn tls(target: SocketAddr, identity: &Identity) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let acceptor = TlsAcceptor::from(Arc::new(server_config(identity)));
        let hellos = Arc::<Mutex<Vec<Hello>>>::default();
        let seen = hellos.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), seen.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate leaves here.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let (_, session) = stream.get_ref();
                    let hello = Hello {
                        server_name: session.server_name().map(ToOwned::to_owned),
                        protocol: session
                            .alpn_protocol()
                            .map(|name| String::from_utf8_lossy(name).into_owned()),
                    };
                    seen.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(hello);
                    pass_on(stream, target).await;
                });
            }
        });
        Self {
            address: Some(address),
            hellos,
            task,
        }
    }

    /// Listens on a unix socket for `target`.
    pub fn unix(target: SocketAddr, path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a new socket");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass_on(stream, target));
            }
        });
        Self {
            address: None,
            hellos: Arc::default(),
            task,
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.expect("a front on a port").port()
    }

    /// The handshakes that succeeded.
    pub fn hellos(&self) -> Vec<Hello> {
        self.hellos
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(mut stream: impl AsyncRead + AsyncWrite + Unpin, target: SocketAddr) {
    let mut behind = TcpStream::connect(target).await.expect("the target is up");
    // Either side may end this as it likes.
    let _ = copy_bidirectional(&mut stream, &mut behind).await;
}

fn server_config(identity: &Identity) -> ServerConfig {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
    let chain = vec![certificate.expect("a certificate")];
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key.expect("a key"))
        .expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}
