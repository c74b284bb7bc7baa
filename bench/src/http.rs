//! One request, where nothing is measured.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back.
pub struct Response {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// GETs; `None` when there is no answer.
pub fn get(address: SocketAddr, target: &str, token: Option<&str>) -> Option<Response> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n"));
    let authorization = authorization.unwrap_or_default();
    let request =
        format!("GET {target} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    // Envoy's admin interface answers in one chunk.
    let body = match head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        true => unchunked(body),
        false => body.to_owned(),
    };
    Some(Response { status, body })
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let (Some(chunk), Some(rest)) = (rest.get(..size), rest.get(size + 2..)) else {
            break;
        };
        whole.push_str(chunk);
        body = rest;
    }
    whole
}
