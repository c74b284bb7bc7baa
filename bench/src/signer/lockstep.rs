//! Load over tunnels, which wrk does not know.
//!
//! A process that opens tunnels for wrk and copies bytes would take more of the load's core than
//! all others together, and a signer that waits between requests pays for each with a wakeup. So
//! this sends a request on every connection before it reads the responses: of 32 at a time.

use super::client::{Client, tcp};
use super::peer::Signer;
use crate::load::Sample;
use crate::process::{load_core, pin_this_thread};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// As many as wrk has.
const CONNECTIONS: usize = 32;

/// Connections that are kept from turn to turn.
pub(super) struct Lockstep<'a> {
    signer: &'a Signer,
    connections: Vec<Box<dyn Connection>>,
    request: String,
}

trait Connection: Read + Write + Send {}

impl<T: Read + Write + Send> Connection for T {}

impl<'a> Lockstep<'a> {
    /// Plain HTTP.
    pub(super) fn plain(signer: &'a Signer, server: SocketAddr) -> Self {
        Self::new(signer, &format!("http://{server}"), server, || {
            Box::new(tcp(signer.address()))
        })
    }

    /// HTTPS, intercepted.
    pub(super) fn intercepted(signer: &'a Signer, server: SocketAddr) -> Self {
        let client = Client::trusting(signer.authority());
        Self::new(signer, "", server, || {
            Box::new(client.through(signer.address(), server))
        })
    }

    fn new(
        signer: &'a Signer,
        origin: &str,
        server: SocketAddr,
        connect: impl Fn() -> Box<dyn Connection>,
    ) -> Self {
        Self {
            signer,
            connections: (0..CONNECTIONS).map(|_| connect()).collect(),
            request: format!("GET {origin}/ HTTP/1.1\r\nHost: {server}\r\n\r\n"),
        }
    }

    /// Sends for a second.
    pub(super) fn run(&mut self) -> Sample {
        thread::scope(|scope| {
            let load = scope.spawn(|| {
                pin_this_thread(load_core());
                self.run_here()
            });
            load.join().expect("a thread")
        })
    }

    fn run_here(&mut self) -> Sample {
        let (started, cpu) = (Instant::now(), self.signer.process().cpu_time());
        let mut turns = Vec::new();
        while started.elapsed() < Duration::from_secs(1) {
            let turn = Instant::now();
            for connection in &mut self.connections {
                let sent = connection.write_all(self.request.as_bytes());
                sent.and_then(|()| connection.flush())
                    .expect("a connection");
            }
            self.connections.iter_mut().for_each(receive);
            turns.push(turn.elapsed().as_micros() as f64);
        }
        let seconds = started.elapsed().as_secs_f64();
        let cpu = self.signer.process().cpu_time().saturating_sub(cpu);
        let requests = turns.len() * CONNECTIONS;
        turns.sort_by(f64::total_cmp);
        Sample {
            requests: requests as u64,
            per_second: requests as f64 / seconds,
            per_cpu_second: requests as f64 / cpu.as_secs_f64(),
            utilization: cpu.as_secs_f64() / seconds,
            p50_us: turns[turns.len() / 2],
            p99_us: turns[turns.len() * 99 / 100],
        }
    }
}

/// One response: the server's end with its body, which is two bytes.
fn receive(connection: &mut Box<dyn Connection>) {
    let (mut response, mut length) = ([0; 4096], 0);
    while !response[..length].ends_with(b"\r\n\r\nok") {
        let read = connection.read(&mut response[length..]);
        let read = read.expect("a response");
        assert!(read > 0, "{}", String::from_utf8_lossy(&response[..length]));
        length += read;
    }
    let response = String::from_utf8_lossy(&response[..length]);
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}
