//! The client of Envoy's admin interface.

use crate::Error;
use crate::address::BoundAddress;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

#[derive(Clone)]
pub(crate) struct Admin {
    socket: PathBuf,
}

/// How many connections there are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) open: u64,
    pub(crate) refused: u64,
}

impl Admin {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether Envoy takes requests; a silent admin interface does not count as an error, since
    /// at the start there is none yet.
    pub(crate) async fn is_ready(&self) -> bool {
        self.call(Method::GET, "/ready").await.is_ok()
    }

    /// Each listener's name and address.
    pub(crate) async fn listeners(&self) -> Result<Vec<(String, BoundAddress)>, Error> {
        let answer = self.get_json("/listeners?format=json").await?;
        Ok(list(&answer, "/listener_statuses")
            .filter_map(listener)
            .collect())
    }

    /// How many requests the verifiers are serving; the admin interface's own do not count.
    pub(crate) async fn active_requests(&self) -> Result<u64, Error> {
        let path = "/stats?format=json&filter=%5Ehttp%5C.verifier_.*%5C.downstream_rq_active$";
        let answer = self.get_json(path).await?;
        let values = list(&answer, "/stats").filter_map(|stat| stat.get("value")?.as_u64());
        Ok(values.sum())
    }

    /// How many connections the verifiers have, and how many they have refused so far because there
    /// were too many.
    pub(crate) async fn connections(&self) -> Result<Usage, Error> {
        let path = "/stats?format=json&filter=%5Elistener%5C..*%5C.downstream_\
                    (pre_cx_active|cx_active|global_cx_overflow)$";
        let answer = self.get_json(path).await?;
        let mut usage = Usage::default();
        for stat in list(&answer, "/stats") {
            let value = stat.get("value").and_then(Value::as_u64);
            let name = stat.get("name").and_then(Value::as_str);
            let (Some(name), Some(value)) = (name, value) else {
                continue;
            };
            // A worker's connections are in those of its listener.
            if name.starts_with("listener.admin.") || name.contains(".worker_") {
                continue;
            }
            match name.ends_with("_cx_overflow") {
                true => usage.refused += value,
                false => usage.open += value,
            }
        }
        Ok(usage)
    }

    /// No new connections; the open ones close after the request they are at.
    pub(crate) async fn drain(&self) -> Result<(), Error> {
        self.call(Method::POST, "/healthcheck/fail").await?;
        self.call(Method::POST, "/drain_listeners").await?;
        Ok(())
    }

    async fn get_json(&self, path: &str) -> Result<Value, Error> {
        let body = self.call(Method::GET, path).await?;
        serde_json::from_slice(&body).map_err(|error| Error::Admin(format!("{path}: {error}")))
    }

    async fn call(&self, method: Method, path: &str) -> Result<Bytes, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Admin(format!("{path}: {error}"));
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|e| failed(&e))?;
        let io = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
            .await
            .map_err(|e| failed(&e))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "admin")
            .body(Empty::<Bytes>::new())
            .map_err(|e| failed(&e))?;
        let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
        if response.status() != StatusCode::OK {
            return Err(failed(&response.status()));
        }
        Ok(response
            .into_body()
            .collect()
            .await
            .map_err(|e| failed(&e))?
            .to_bytes())
    }
}

fn list<'a>(answer: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    answer
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn listener(status: &Value) -> Option<(String, BoundAddress)> {
    let address = status.get("local_address")?;
    let bound = match address.pointer("/pipe/path") {
        Some(path) => BoundAddress::Unix(path.as_str()?.into()),
        None => BoundAddress::Tcp(socket_address(address.get("socket_address")?)?),
    };
    Some((status.get("name")?.as_str()?.to_owned(), bound))
}

fn socket_address(address: &Value) -> Option<SocketAddr> {
    let ip = address.get("address")?.as_str()?.parse().ok()?;
    let port = u16::try_from(address.get("port_value")?.as_u64()?).ok()?;
    Some(SocketAddr::new(ip, port))
}
