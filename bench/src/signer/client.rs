//! A client of HTTPS servers: directly, or through a signer.

use super::authority::Authority;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// TLS over TCP.
pub(super) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// What a client trusts. It resumes no session: each of its connections is like the first.
#[derive(Clone)]
pub(super) struct Client(Arc<ClientConfig>);

impl Client {
    pub(super) fn trusting(authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(authority.certificate().as_bytes());
        let certificate = certificate.expect("a certificate");
        roots.add(certificate).expect("an authority");
        let mut provider = aws_lc_rs::default_provider();
        // In the order that rustls has by default: no server asks it to try again.
        provider.kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519];
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Self(Arc::new(config))
    }

    /// Connects to a server.
    pub(super) fn direct(&self, server: SocketAddr) -> Tls {
        self.tls(tcp(server), server)
    }

    /// Connects to a server through a tunnel of the signer.
    pub(super) fn through(&self, signer: SocketAddr, server: SocketAddr) -> Tls {
        let mut stream = tcp(signer);
        let connect = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n\r\n");
        stream.write_all(connect.as_bytes()).expect("a connection");
        let head = head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        self.tls(stream, server)
    }

    fn tls(&self, stream: TcpStream, server: SocketAddr) -> Tls {
        let name = ServerName::IpAddress(server.ip().into());
        let connection = ClientConnection::new(Arc::clone(&self.0), name).expect("TLS");
        StreamOwned::new(connection, stream)
    }
}

/// Sends a request and waits for the first byte of its response.
pub(super) fn first_byte(stream: &mut Tls, server: SocketAddr) {
    let request = format!("GET / HTTP/1.1\r\nHost: {server}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a connection");
    let mut first = [0];
    stream.read_exact(&mut first).expect("a response");
    assert_eq!(&first, b"H");
}

/// A connection that does not wait for ever.
pub(super) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a listener");
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
}

/// A header section, byte by byte, so that nothing behind it is lost.
pub(super) fn head(stream: &mut impl std::io::Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a header section");
        head.extend_from_slice(&byte);
    }
    String::from_utf8_lossy(&head).into_owned()
}
