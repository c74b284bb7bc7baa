//! Finding what the machine has: Envoy, and the certificates it trusts.

use crate::Error;
use std::env;
use std::path::{Path, PathBuf};

/// Where `make setup` puts Envoy, below the project's folder.
const PROJECT_ENVOY: &str = ".tools/envoy/envoy";

/// The Envoy binary: `ENVOY_PATH`, else the `PATH`, else the project's own, when this executable
/// runs from inside the project.
pub fn envoy() -> Result<PathBuf, Error> {
    if let Some(path) = env::var_os("ENVOY_PATH").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(Error::WrongPath(path))
        };
    }
    on_path().or_else(in_project).ok_or(Error::NotFound)
}

/// The file with the certificates this machine trusts: `SSL_CERT_FILE`, else where systems have it.
pub fn ca_bundle() -> Option<PathBuf> {
    match env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        // Whoever names one means that one and no other.
        Some(path) => std::path::absolute(Path::new(&path)).ok(),
        None => openssl_probe::probe().cert_file,
    }
    .filter(|path| path.is_file())
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join("envoy"))
        .find(|file| file.is_file())
}

fn in_project() -> Option<PathBuf> {
    let executable = env::current_exe().ok()?;
    let mut candidates = executable
        .ancestors()
        .map(|folder| folder.join(PROJECT_ENVOY));
    candidates.find(|file| file.is_file())
}
