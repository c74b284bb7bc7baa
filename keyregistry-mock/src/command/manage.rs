//! The commands for keys of a registry that runs: `list`, `show`, `approve`, `revoke`, `import`,
//! `purge`.

mod admin;
mod approve;
mod table;

use super::{Failure, read_text, read_token};
use admin::{Admin, query};
use axum::http::Method;
use clap::{Args, Subcommand};
use jwt_core::key::KeyName;
use jwt_core::registry::key_path;
use jwt_keys::pem;
use keyregistry_mock::Unexpected;
use keyregistry_mock::jwk::PublicJwk;
use serde_json::Value;
use std::path::{Path, PathBuf};
use table::{print, printable_json};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List keys with their state: SERVICE, KEY ID, STATE, EXPIRES, THUMBPRINT, SOURCE, AGE in
    /// seconds, tab-separated
    List {
        #[command(flatten)]
        registry: RegistryArgs,
        /// Only keys in this state: pending, approved, retired or expired
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Only keys of this service
        #[arg(long)]
        service: Option<String>,
    },
    /// Show one key as JSON
    Show(KeyArgs),
    /// Approve a pending key, known by its RFC 7638 thumbprint
    Approve {
        #[command(flatten)]
        key: KeyArgs,
        /// The thumbprint of the key to approve, from the log of its signer. Without it, the
        /// command shows the key and asks, if it runs on a terminal
        #[arg(long)]
        thumbprint: Option<String>,
    },
    /// Revoke a key: it is served no more, and neither it nor its id comes back
    Revoke(KeyArgs),
    /// Remove keys that await approval, those that meet each condition given, and list them
    #[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
    Purge {
        #[command(flatten)]
        registry: RegistryArgs,
        /// That were not approved in their time
        #[arg(long, group = "which")]
        expired: bool,
        /// From this source, or a network of sources: 192.0.2.1, 192.0.2.0/24, 192.0.0.0/16,
        /// 2001:db8::/64, /48 or /32, unknown
        #[arg(long, group = "which")]
        source: Option<String>,
        /// Of this service
        #[arg(long, group = "which")]
        service: Option<String>,
        /// Only list them
        #[arg(long)]
        dry_run: bool,
    },
    /// Add an approved key from a file
    Import {
        #[command(flatten)]
        registry: RegistryArgs,
        /// Whose key it is
        #[arg(long)]
        service: String,
        /// Its id; by default the JWK's own, or its RFC 7638 thumbprint
        #[arg(long)]
        kid: Option<String>,
        /// When it expires, in seconds since 1970; by default never
        #[arg(long, value_name = "SECONDS")]
        expires: Option<i64>,
        /// Take it even if it, or a key of its id, was revoked or replaced
        #[arg(long)]
        restore: bool,
        /// A public key: a JWK or PEM
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct RegistryArgs {
    /// The base URL of the admin listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8889")]
    admin: String,
    /// The file with the admin token
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    /// Whose key it is
    service: String,
    /// Its id
    kid: String,
}

impl Command {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List {
                registry,
                state,
                service,
            } => {
                let keys = Admin::new(&registry)?.keys().await?;
                print(&table::of(&keys, state.as_deref(), service.as_deref()));
                Ok(())
            }
            Self::Show(key) => {
                print(&printable_json(&key.ask(Method::GET, "").await?));
                Ok(())
            }
            Self::Approve { key, thumbprint } => approve::run(&key, thumbprint).await,
            Self::Purge {
                registry,
                expired,
                source,
                service,
                dry_run,
            } => {
                let conditions = [
                    ("expired", Some(expired.to_string())),
                    ("source", source),
                    ("service", service),
                    ("dry_run", Some(dry_run.to_string())),
                ];
                let path = format!("/purge?{}", query(&conditions));
                let purged = Admin::new(&registry)?.ask(Method::POST, &path, "").await?;
                let purged: Value = serde_json::from_str(&purged).unwrap_or_default();
                let keys = purged.get("keys").and_then(Value::as_array);
                let keys = keys.map_or(&[][..], Vec::as_slice);
                print(&table::of(keys, None, None));
                let done = if dry_run { "would remove" } else { "removed" };
                print(&format!("{done} {} pending keys", keys.len()));
                Ok(())
            }
            Self::Revoke(key) => key.ask(Method::DELETE, "").await.map(drop),
            Self::Import {
                registry,
                service,
                kid,
                expires,
                restore,
                file,
            } => {
                let admin = Admin::new(&registry)?;
                let (kid, jwk) = read_key(&file, kid)?;
                let terms = [
                    ("expiration", expires.map(|seconds| seconds.to_string())),
                    ("restore", restore.then(|| "true".to_owned())),
                ];
                let path = format!("{}?{}", path_of(&service, &kid)?, query(&terms));
                admin.ask(Method::PUT, &path, &jwk).await?;
                print(&table::printable(&kid));
                Ok(())
            }
        }
    }
}

impl KeyArgs {
    async fn ask(&self, method: Method, suffix: &str) -> Result<String, Failure> {
        let path = path_of(&self.service, &self.kid)? + suffix;
        Admin::new(&self.registry)?.ask(method, &path, "").await
    }
}

fn path_of(service: &str, kid: &str) -> Result<String, Failure> {
    let name = KeyName::new(service.to_owned(), kid.to_owned()).ok();
    let path = name.and_then(|name| key_path("", &name));
    path.ok_or_else(|| Failure::Refused(400, "no service or no key has such a name".into()))
}

/// The key of a file as a JWK, and its id.
fn read_key(file: &Path, kid: Option<String>) -> Result<(String, String), Failure> {
    let expected = "a file with a public key, a JWK or PEM";
    let text = read_text(file, expected)?;
    let jwk = if pem::as_text(text.as_bytes()).is_some() {
        PublicJwk::from_pem(&text)
    } else {
        PublicJwk::parse(&text)
    };
    let jwk = jwk.map_err(|Unexpected { found, .. }| {
        let expected = expected.to_owned();
        Failure::File(file.to_owned(), Unexpected { found, expected })
    })?;
    let kid = kid
        .or_else(|| jwk.kid().map(str::to_owned))
        .unwrap_or_else(|| jwk.thumbprint());
    let jwk = jwk.with_kid(&kid).to_json().to_string();
    Ok((kid, jwk))
}
