//! Everybody who takes part.

use super::authority::Authority;
use super::peer::{Settings, Signer};
use super::witness;
use crate::envoy_peer::EnvoyPeer;
use crate::load::{Load, Sample};
use crate::process::{Process, load_core, subject_core};
use crate::tokens::Key;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tempfile::TempDir;

/// How many addresses the server has besides 127.0.0.1.
pub(super) const HOSTS: u8 = 100;

/// The servers behind the signers, which answer at once, and the keys to sign with.
pub(super) struct Stage {
    pub(super) rsa: Key,
    pub(super) p256: Key,
    pub(super) ed25519: Key,
    servers: Authority,
    server: EnvoyPeer,
    _folder: TempDir,
}

impl Stage {
    pub(super) fn set() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let servers = Authority::new("the servers' authority");
        let addresses: Vec<_> = std::iter::once(Ipv4Addr::LOCALHOST)
            .chain((1..=HOSTS).map(host))
            .map(IpAddr::from)
            .collect();
        let identity = servers.issue(&addresses);
        let server = EnvoyPeer::start_server(
            folder.path(),
            load_core(),
            &identity.certificate,
            &identity.key,
        );
        Self {
            rsa: Key::rsa(),
            p256: Key::p256(),
            ed25519: Key::ed25519(),
            servers,
            server,
            _folder: folder,
        }
    }

    /// A signer that has shown that its requests arrive with a token of this key, or with none.
    pub(super) fn signer(&self, cores: &str, key: Option<&Key>) -> Signer {
        let signer = Signer::start(&Settings {
            cores,
            key: key.unwrap_or(&self.p256),
            signs: key.is_some(),
            trusted: &self.servers,
            beside: "",
        });
        witness::plain(&signer, key);
        witness::intercepted(&signer, &self.servers, key);
        signer
    }

    /// The same on the subject's core.
    pub(super) fn subject(&self, key: Option<&Key>) -> Signer {
        self.signer(subject_core(), key)
    }

    pub(super) fn servers(&self) -> &Authority {
        &self.servers
    }

    pub(super) fn server_process(&self) -> &Process {
        self.server.process()
    }

    /// The server that speaks plain HTTP.
    pub(super) fn plain_server(&self) -> SocketAddr {
        self.server.listener(0)
    }

    /// The server that speaks HTTPS.
    pub(super) fn tls_server(&self) -> SocketAddr {
        self.server.listener(1)
    }

    /// What a client of a forward proxy sends.
    pub(super) fn plain_load(&self, signer: &Signer) -> Load {
        let server = self.plain_server();
        Load {
            target: format!("http://{server}/"),
            headers: vec![("Host", server.to_string())],
            ..Load::on(signer.address())
        }
    }

    /// Plain HTTP through a signer.
    pub(super) fn plain(&self, signer: &Signer) -> Sample {
        self.plain_load(signer).run(signer.process())
    }
}

/// One of the server's further addresses.
pub(super) fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, number)
}
