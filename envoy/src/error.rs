//! What can go wrong with Envoy.

use std::io;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Why Envoy does not run.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no Envoy on this machine.
    #[error(
        "Envoy was not found: install it (in the project: `make setup`), put `envoy` on the PATH, \
         or set ENVOY_PATH to the binary"
    )]
    NotFound,
    /// ENVOY_PATH leads nowhere.
    #[error("ENVOY_PATH is {0}, and there is no such file")]
    WrongPath(PathBuf),
    /// The binary cannot be executed.
    #[error("{path} cannot be started: {source}")]
    Spawn {
        /// The binary.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing to verify a server's certificate with.
    #[error(
        "{url} is to be verified, but the certificates this machine trusts were not found: install \
         them (ca-certificates), or set SSL_CERT_FILE to a PEM file"
    )]
    NoTrustedCertificates {
        /// The server.
        url: String,
    },
    /// Its files cannot be written.
    #[error("cannot write Envoy's configuration to the temporary folder: {0}")]
    Files(#[source] io::Error),
    /// Its log cannot be read.
    #[error("cannot read Envoy's log: {0}")]
    Log(#[source] io::Error),
    /// Another process has the address.
    #[error("{listener}: cannot listen on {address}: {source}")]
    Listen {
        /// Which verifier.
        listener: String,
        /// Its address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("Envoy ended at its start ({status}). It said:\n{log}")]
    EndedAtStart {
        /// The exit status.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// It does not get ready.
    #[error("Envoy was not ready after {0:?}")]
    NotReady(Duration),
    /// The admin interface does not answer as it should.
    #[error("Envoy's admin interface: {0}")]
    Admin(String),
}
