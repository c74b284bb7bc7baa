//! What connections take.

use super::client::{Client, first_byte, head, tcp};
use super::stage::Stage;
use crate::goal::Demand::AtMost;
use crate::goal::Goal;
use crate::process::all_cores;
use crate::report::Report;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

const CONNECTIONS: usize = 5_000;

/// What a start leaves behind is given back by then.
const REST: Duration = Duration::from_secs(1);

/// Resident memory at rest, and with many connections that have been used once and stay open.
/// The signer has all cores, as it would: its memory grows with them.
pub(super) fn resident(stage: &Stage, report: &mut Report) {
    allow_many_files();
    eprintln!("Signer, memory");
    let signer = stage.signer(&all_cores(), Some(&stage.p256));
    sleep(REST);
    let idle = mebibytes(signer.process().resident_memory());
    report.goals.push(Goal::figure(
        "signer, resident memory at rest",
        AtMost(15.0),
        idle,
        " MiB",
    ));
    let server = stage.plain_server();
    let request = format!("GET http://{server}/ HTTP/1.1\r\nHost: {server}\r\n\r\n");
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = tcp(signer.address());
            exchange(&mut stream, &request);
            stream
        })
        .collect();
    sleep(REST);
    report.goals.push(Goal::figure(
        format!("signer, resident memory with {CONNECTIONS} connections"),
        AtMost(64.0),
        mebibytes(signer.process().resident_memory()),
        " MiB",
    ));
    drop(connections);
    tunnels(stage, report);
}

fn tunnels(stage: &Stage, report: &mut Report) {
    let signer = stage.signer(&all_cores(), Some(&stage.p256));
    let client = Client::trusting(signer.authority());
    let server = stage.tls_server();
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = client.through(signer.address(), server);
            first_byte(&mut stream, server);
            stream
        })
        .collect();
    sleep(REST);
    let resident = mebibytes(signer.process().resident_memory());
    drop(connections);
    report.figures.push((
        format!("signer, resident memory with {CONNECTIONS} intercepted tunnels"),
        format!("{resident:.0} MiB"),
    ));
}

/// One request, and its response to the last byte.
fn exchange(stream: &mut TcpStream, request: &str) {
    stream.write_all(request.as_bytes()).expect("a connection");
    let head = head(stream).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.split_once("content-length: ").map(|(_, rest)| rest);
    let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
    let mut body = vec![0; length.expect("a length")];
    stream.read_exact(&mut body).expect("a body");
}

/// For the clients here, and for the processes that are started from here on.
fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("what is permitted");
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
