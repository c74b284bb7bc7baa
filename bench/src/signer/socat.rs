//! socat: opens tunnels for wrk, which does not know CONNECT.

use crate::envoy_peer::free_address;
use crate::process::{LOAD_CORE, Process};
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Each connection becomes a tunnel through a signer.
pub(super) struct Socat {
    _process: Process,
    address: SocketAddr,
}

impl Socat {
    pub(super) fn start(signer: SocketAddr, server: SocketAddr) -> Self {
        let address = free_address();
        let mut command = Command::new("socat");
        command
            .arg(format!(
                "TCP-LISTEN:{},fork,reuseaddr,nodelay,backlog=1024,bind={}",
                address.port(),
                address.ip()
            ))
            .arg(format!(
                "PROXY:{}:{}:{},proxyport={},nodelay",
                signer.ip(),
                server.ip(),
                server.port(),
                signer.port()
            ));
        let log = File::create("/dev/null").expect("a file");
        let process = Process::start_logging(LOAD_CORE, &command, log);
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "no socat");
            sleep(Duration::from_millis(10));
        }
        let _process = process;
        Self { _process, address }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}
