//! Files on the disk: the YAML itself and what it names.

use super::ConfigError;
use jwt_core::config::reader::Expected;
use serde_json::Value;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use tracing::warn;
use transport::files::{FileError, TrustedFile, read_trusted};

/// The text of a file.
pub(super) fn read_text(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The tree of a YAML file with this text.
pub(super) fn parse_yaml(path: &Path, text: &str) -> Result<Value, ConfigError> {
    let options = serde_saphyr::options! {
        // The Go YAML parser reads 0755 as an octal number, as YAML 1.1 does.
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| ConfigError::Yaml {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

/// The content of a file that the configuration names; `~` is the home directory. `parse` says
/// what is wrong with it.
pub(super) fn read_named<T, E: std::fmt::Display>(
    value: &Value,
    parse: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Result<T, Expected> {
    let (_, file) = open(value)?;
    parsed(&file, parse)
}

/// The same for a file with a secret: it is warned of where others can read it.
pub(super) fn read_secret<T, E: std::fmt::Display>(
    value: &Value,
    parse: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Result<T, Expected> {
    read_secret_with_path(value, parse).map(|(_, parsed)| parsed)
}

/// The same for a file that is to be read again later.
pub(super) fn read_with_path<T, E: std::fmt::Display>(
    value: &Value,
    parse: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Result<(PathBuf, T), Expected> {
    let (path, file) = open(value)?;
    Ok((path, parsed(&file, parse)?))
}

/// A secret that is to be read again later.
pub(super) fn read_secret_with_path<T, E: std::fmt::Display>(
    value: &Value,
    parse: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Result<(PathBuf, T), Expected> {
    let (path, file) = open(value)?;
    if let Some(mode) = file.readable_by_others {
        let path = path.display();
        warn!("{path} holds a secret that other users can read (mode {mode:04o}): chmod 600 it");
    }
    Ok((path, parsed(&file, parse)?))
}

fn open(value: &Value) -> Result<(PathBuf, TrustedFile), Expected> {
    let path = value
        .as_str()
        .filter(|path| !path.is_empty())
        .ok_or("the path of a file")?;
    let path = PathBuf::from(&*shellexpand::tilde(path));
    match read_trusted(&path) {
        Ok(file) => Ok((path, file)),
        Err(FileError::System { source, .. }) => Err(format!("a file that can be read ({source})")),
        Err(FileError::Untrusted { problem, .. }) => Err(format!(
            "a file that only its user can change (it {problem})"
        )),
    }
}

fn parsed<T, E: std::fmt::Display>(
    file: &TrustedFile,
    parse: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Result<T, Expected> {
    parse(&file.content).map_err(|error| format!("a usable file ({error})"))
}

/// The bytes of a file that the configuration names.
pub(super) fn read(value: &Value) -> Result<Vec<u8>, Expected> {
    read_named(value, |content| Ok::<_, Infallible>(content.to_vec()))
}

/// The bytes of a file with a secret.
pub(super) fn read_secret_bytes(value: &Value) -> Result<Vec<u8>, Expected> {
    read_secret(value, |content| Ok::<_, Infallible>(content.to_vec()))
}
