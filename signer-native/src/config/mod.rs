//! The configuration file: read whole, or refused with every mistake in it.
//!
//! Raw YAML and ready configuration are two things with one way between them. Files that the
//! configuration names are read on the way, so that a ready configuration has all it needs.

mod address;
mod file;
mod private_key;
mod signer;
mod verifier;

use crate::keys;
use crate::policy::{Action, RegistryOrigin};
use crate::proxy::{Parts, Settings};
use crate::signing::RequestSigner;
use envoy::verifier::{KeyServer, ListenAddress, SocketAddress, VerifierProxy};
use jwt_core::config::reader::{self, Mistakes, Section};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A ready configuration: at least one proxy.
#[derive(Debug)]
pub struct Config {
    /// The signer, if there is one.
    pub signer: Option<SignerProxy>,
    /// The verifiers in the order of the file, without those that are not enabled.
    pub verifiers: Vec<VerifierProxy>,
}

/// The signing forward proxy.
#[derive(Debug)]
pub struct SignerProxy {
    /// Where it listens.
    pub listen: ListenAddress,
    /// What it signs with.
    pub signer: RequestSigner,
    /// Where its keys come from, if they look after themselves.
    pub keys: Option<keys::Settings>,
    /// What it does beyond signing plain HTTP.
    pub parts: Parts,
    /// How patient it is.
    pub settings: Settings,
    /// Where it tells operators how it is, if anywhere.
    pub admin: Option<SocketAddress>,
    /// What is in order but should be known.
    pub warnings: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not YAML.
    #[error("{path}: not valid YAML: {problem}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What, with line and column.
        problem: String,
    },
    /// The file does not say what it should.
    #[error("{path}: the configuration has mistakes:\n{mistakes}")]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// All of them.
        mistakes: Mistakes,
    },
}

impl Config {
    /// Reads a configuration file and the files it names.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &file::read_text(path)?)
    }

    /// Reads the text of the configuration file at `path`, and the files it names.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let tree = file::parse_yaml(path, text)?;
        reader::read("", &tree, |section| {
            // Other top-level keys belong to other programs.
            section.permit_others();
            section.field("jwtproxy").section(Self::from_section)
        })
        .map_err(|mistakes| ConfigError::Mistakes {
            path: path.to_owned(),
            mistakes,
        })
    }

    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let signer_field = section.field("signer_proxy");
        let signer = match signer_field.is_present() {
            true => signer_field.section(|proxy| enabled(proxy, signer::signer_proxy)),
            false => Some(None),
        };
        let verifiers = section
            .field("verifier_proxies")
            .sections(|proxy| enabled(proxy, verifier::verifier_proxy));
        let mut config = Self {
            signer: signer?,
            verifiers: verifiers?.into_iter().flatten().collect(),
        };
        config.make_registries_known(section)?;
        if config.signer.is_none() && config.verifiers.is_empty() {
            section.mistake(
                "nothing to run: expected \"signer_proxy\" or \"verifier_proxies\", enabled",
            );
            return None;
        }
        Some(config)
    }
}

impl Config {
    /// The signer signs nothing for the registries of the verifiers beside it either.
    fn make_registries_known(&mut self, section: &Section<'_>) -> Option<()> {
        let Some(signer) = &mut self.signer else {
            return Some(());
        };
        let policy = &mut signer.parts.policy;
        for verifier in &self.verifiers {
            if let KeyServer::Keyregistry { url, .. } = &verifier.key_server {
                let scheme = if url.is_secure() { "https" } else { "http" };
                let url = format!("{scheme}://{}", url.authority());
                let Some(registry) = RegistryOrigin::parse(&url) else {
                    section.mistake(format!(
                        "verifier_proxies: the host of the key registry {url} is neither a name \
                         nor an address in full, so the signer cannot recognise it"
                    ));
                    return None;
                };
                policy.add_registry(registry);
            }
        }
        let mut found = Some(());
        for (index, rule) in policy.rules().iter().enumerate() {
            let Action::Sign(extras) = &rule.action else {
                continue;
            };
            let Some(audience) = &extras.audience else {
                continue;
            };
            if let Some(registry) = policy.registries().of_audience(audience) {
                section.mistake(format!(
                    "signer_proxy.hosts[{index}].audience: {audience:?} is the key registry {}: \
                     with a token for it a client could take over the keys of this service",
                    registry.as_str()
                ));
                found = None;
            }
        }
        found
    }
}

/// A proxy that is not enabled is not looked at: what it names need not exist.
fn enabled<T>(
    section: &mut Section<'_>,
    parse: impl FnOnce(&mut Section<'_>) -> Option<T>,
) -> Option<Option<T>> {
    if section.field("enabled").or(true, reader::boolean)? {
        return parse(section).map(Some);
    }
    section.permit_others();
    Some(None)
}
