//! A client, and keys to ask for.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod world;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jwt_core::key::KeyName;
use keyregistry_mock::jwk::PublicJwk;
use keyregistry_mock::{Clock, Options, Registry, Server, publication};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().expect(name);
        assert!(values.next().is_none(), "{name} stands there twice");
        value.to_str().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A key that has this id.
pub(crate) fn jwk(kid: &str) -> PublicJwk {
    let jwk = PublicJwk::parse(r#"{"kty": "RSA", "n": "AQAB", "e": "AQAB"}"#);
    jwk.unwrap().with_kid(kid)
}

/// Approves whatever key has this name.
pub(crate) fn approve(registry: &Registry, service: &str, kid: &str) {
    let name = KeyName::new(service.into(), kid.into()).unwrap();
    let thumbprint = registry.get(service, kid).unwrap().jwk.thumbprint();
    publication::approve(registry, &name, &thumbprint, Clock::System.now()).unwrap();
}

/// Serves a registry on a free port.
pub(crate) async fn start(registry: &Registry, options: Options) -> Server {
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::start(address, registry.clone(), options).await;
    server.unwrap()
}

pub(crate) async fn get(server: &Server, path: &str) -> Answer {
    request(server, Method::GET, path).await
}

/// Asks for a path below the server's base URL.
pub(crate) async fn request(server: &Server, method: Method, path: &str) -> Answer {
    ask(&server.url(), method, path, None, String::new()).await
}

/// Asks with this Authorization and body.
pub(crate) async fn ask(
    base: &str,
    method: Method,
    path: &str,
    authorization: Option<&str>,
    body: String,
) -> Answer {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{base}{path}"));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(Full::new(Bytes::from(body)));
    let answer = client.request(request.unwrap()).await.unwrap();
    let (head, body) = answer.into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

pub(crate) async fn connect_raw(server: &Server) -> TcpStream {
    TcpStream::connect(server.local_addr()).await.unwrap()
}

/// Sends bytes, closes its side and reads what comes back until the server hangs up.
pub(crate) async fn exchange_raw(server: &Server, request: &str) -> String {
    let mut stream = connect_raw(server).await;
    // The server may hang up before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
