//! Certificates that change while Envoy runs.
//!
//! Envoy notices only files that are moved into place. People also copy over the old ones, or
//! write key and certificate one after the other; so the files are looked at here, and Envoy is
//! told once both have come to rest and belong together.

use crate::bootstrap::{listener_name, secret_file};
use crate::folder::PrivateFolder;
use crate::verifier::CertificateFiles;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::{info, warn};

/// How often the files are looked at, and how long they must have been left alone.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watches the certificates of some verifiers until it is dropped.
pub(crate) struct Reloader(JoinHandle<()>);

impl Reloader {
    /// Watches these, each with its verifier's index, if there are any. Envoy watches the folder
    /// `secrets`.
    pub(crate) fn start(
        certificates: Vec<(usize, CertificateFiles)>,
        secrets: PrivateFolder,
    ) -> Option<Self> {
        if certificates.is_empty() {
            return None;
        }
        Some(Self(tokio::spawn(async move {
            let mut watched: Vec<_> = certificates.into_iter().map(Watched::new).collect();
            loop {
                sleep(INTERVAL).await;
                for certificate in watched.iter_mut().filter_map(Watched::changed) {
                    certificate.reload(&secrets);
                }
            }
        })))
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Watched {
    index: usize,
    files: CertificateFiles,
    /// What Envoy was told of last.
    known: Stamp,
    /// What was there at the last look.
    seen: Stamp,
}

/// Tells one state of two files from another.
type Stamp = [Option<(u64, u64, u64, i64, i64)>; 2];

impl Watched {
    fn new((index, files): (usize, CertificateFiles)) -> Self {
        let stamp = stamp(&files);
        Self {
            index,
            files,
            known: stamp,
            seen: stamp,
        }
    }

    /// Itself, if the files have changed and come to rest.
    fn changed(&mut self) -> Option<&Self> {
        let before = std::mem::replace(&mut self.seen, stamp(&self.files));
        if self.seen == self.known || self.seen != before {
            return None;
        }
        self.known = self.seen;
        Some(self)
    }

    fn reload(&self, secrets: &PrivateFolder) {
        let who = listener_name(self.index);
        let for_envoy = match self.files.check() {
            Ok(for_envoy) => for_envoy,
            Err(error) => {
                warn!("{who}: the certificate has changed, but the old one stays in use: {error}");
                return;
            }
        };
        let (name, secret) = secret_file(self.index, &self.files, &for_envoy, secrets.path());
        let replaced = secrets.replace_file(&name, secret.to_string().as_bytes());
        // Where the secret is as it was, only the files are read again.
        match replaced.and_then(|()| secrets.replace_file("changed", b"")) {
            Ok(()) => info!("{who}: the certificate has changed; new connections get the new one"),
            Err(error) => {
                warn!("{who}: the certificate changed, but Envoy could not be notified: {error}");
            }
        }
    }
}

fn stamp(files: &CertificateFiles) -> Stamp {
    [files.certificate(), files.key()].map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((
            found.dev(),
            found.ino(),
            found.len(),
            found.mtime(),
            found.mtime_nsec(),
        ))
    })
}
