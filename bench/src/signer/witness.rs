//! A server that sees whether a request was signed as intended, before anything is measured.

use super::authority::Authority;
use super::client::{Client, first_byte, head, tcp};
use super::peer::Signer;
use crate::tokens::Key;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Sends a request through the signer, which is to arrive with a token of that key, or with none.
pub(super) fn plain(signer: &Signer, key: Option<&Key>) {
    let (listener, server) = listener();
    let arrived = thread::spawn(move || {
        let mut stream = accepted(&listener);
        let head = head(&mut stream);
        stream.write_all(ANSWER).expect("a connection");
        head
    });
    let mut client = tcp(signer.address());
    let request = format!("GET http://{server}/ HTTP/1.1\r\nHost: {server}\r\n\r\n");
    client.write_all(request.as_bytes()).expect("a connection");
    let answer = head(&mut client);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    expect_token(&arrived.join().expect("a request"), key);
}

/// The same inside a tunnel, to a server that `servers` vouches for and the signer believes.
pub(super) fn intercepted(signer: &Signer, servers: &Authority, key: Option<&Key>) {
    let (listener, server) = listener();
    let tls = tls(servers, server.ip());
    let arrived = thread::spawn(move || {
        let connection = ServerConnection::new(tls).expect("TLS");
        let mut stream = StreamOwned::new(connection, accepted(&listener));
        let head = head(&mut stream);
        stream.write_all(ANSWER).expect("a connection");
        head
    });
    let client = Client::trusting(signer.authority());
    first_byte(&mut client.through(signer.address(), server), server);
    expect_token(&arrived.join().expect("a request"), key);
}

fn listener() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn accepted(listener: &TcpListener) -> TcpStream {
    listener.accept().expect("a connection").0
}

fn tls(servers: &Authority, address: std::net::IpAddr) -> Arc<ServerConfig> {
    let identity = servers.issue(&[address]);
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.expect("a certificate")],
            key.expect("a key"),
        );
    Arc::new(config.expect("a key of the certificate"))
}

fn expect_token(head: &str, key: Option<&Key>) {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let mut tokens = fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        .map(|(_, value)| value.strip_prefix("Bearer ").expect("a bearer token"));
    let token = tokens.next();
    assert!(tokens.next().is_none(), "two Authorizations: {head}");
    let algorithm = token.map(|token| {
        let header = token.split('.').next().unwrap_or_default();
        let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
        let header: Value = serde_json::from_slice(&header).expect("JSON");
        header["alg"].as_str().expect("alg").to_owned()
    });
    assert_eq!(algorithm.as_deref(), key.map(Key::algorithm), "{head}");
}
