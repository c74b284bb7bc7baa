//! Files on the disk: the YAML itself and what it names.

use super::ConfigError;
use jwt_core::config::reader::Expected;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The tree of a YAML file.
pub(super) fn read_yaml(path: &Path) -> Result<Value, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let options = serde_saphyr::options! {
        // The Go YAML parser reads 0755 as an octal number, as YAML 1.1 does.
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| ConfigError::Yaml {
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
    let content = read(value)?;
    parse(&content).map_err(|error| format!("a usable file ({error})"))
}

/// The bytes of a file that the configuration names.
pub(super) fn read(value: &Value) -> Result<Vec<u8>, Expected> {
    let path = value
        .as_str()
        .filter(|path| !path.is_empty())
        .ok_or("the path of a file")?;
    let path = shellexpand::tilde(path);
    fs::read(&*path).map_err(|error| format!("a file that can be read ({error})"))
}
