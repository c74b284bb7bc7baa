//! What the proxy makes of a client's bytes, without a connection.

pub use super::framing::{Messages, messages};

use super::target::{Origin, Scope, Target, Tunnel};
use http::header::HOST;
use http::uri::Scheme;
use http::{Method, Request};

/// The server that a request is for.
#[derive(Debug)]
pub struct Server {
    /// `http` or `https`.
    pub scheme: String,
    /// Its name, or its address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The `aud` of the token.
    pub audience: String,
    /// Where the server finds its name: `:authority`, and `Host` but for the default port.
    pub host_header: String,
}

impl Server {
    fn of(request: &Request<()>, scope: &Scope) -> Option<Self> {
        let target = Target::of(request, scope).ok()?;
        Some(Self {
            scheme: target.uri.scheme_str()?.to_owned(),
            host: target.host.to_string(),
            port: target.port,
            audience: target.audience,
            host_header: target.authority.to_string(),
        })
    }
}

/// The server of a proxy request with this target, if it is sent anywhere.
pub fn target(uri: &str) -> Option<Server> {
    let request = Request::builder().uri(uri).header(HOST, "h").body(());
    Server::of(&request.ok()?, &Scope::Proxy)
}

/// The host and port of a CONNECT with this target, if there are any.
pub fn connect(uri: &str) -> Option<(String, u16)> {
    let origin = origin(uri)?;
    Some((origin.host.to_string(), origin.port))
}

/// The server of a request with this `Host` inside such a CONNECT.
pub fn target_inside(connect: &str, host: &str) -> Option<Server> {
    let tunnel = Tunnel {
        scheme: Scheme::HTTPS,
        origin: origin(connect)?,
        named_otherwise: None,
    };
    let request = Request::builder().uri("/").header(HOST, host).body(());
    Server::of(&request.ok()?, &Scope::Tunnel(tunnel))
}

fn origin(uri: &str) -> Option<Origin> {
    let request = Request::builder().method(Method::CONNECT).uri(uri);
    Origin::of_connect(&request.body(()).ok()?).ok()
}
