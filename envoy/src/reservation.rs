//! The addresses that Envoy is to listen on, looked at before it does.

use crate::Error;
use crate::bootstrap::listener_name;
use crate::verifier::{ListenAddress, VerifierProxy};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::{fs, io};

/// Socket files that go when this is dropped.
pub(crate) struct SocketFiles(Vec<PathBuf>);

impl Drop for SocketFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            // Somebody may have removed it.
            let _ = fs::remove_file(path);
        }
    }
}

/// Envoy shares ports with other processes that permit it, so two that were given the same one
/// would each get some of the connections; and it replaces whatever file is where its socket is to
/// be. This finds the other first.
pub(crate) fn reserve(verifiers: &[VerifierProxy]) -> Result<SocketFiles, Error> {
    // Until all are looked at, so that no two of them are the same.
    let mut held = Vec::new();
    let mut sockets = SocketFiles(Vec::new());
    for (index, verifier) in verifiers.iter().enumerate() {
        held.push(hold(&verifier.listen).map_err(|source| Error::Listen {
            listener: listener_name(index),
            address: verifier.listen.to_string(),
            source,
        })?);
        if let ListenAddress::Unix(socket) = &verifier.listen {
            sockets.0.push(socket.path().to_owned());
        }
    }
    Ok(sockets)
}

fn hold(listen: &ListenAddress) -> io::Result<OwnedFd> {
    match listen {
        ListenAddress::Tcp(address) => {
            TcpListener::bind(SocketAddr::new(address.ip, address.port)).map(OwnedFd::from)
        }
        ListenAddress::Unix(socket) => socket.bind().map(OwnedFd::from),
    }
}
