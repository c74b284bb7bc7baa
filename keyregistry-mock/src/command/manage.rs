//! The commands for keys of a registry that runs: `list`, `show`, `approve`, `revoke`, `import`.

use super::{Failure, read_text, read_token};
use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, Uri};
use clap::{Args, Subcommand};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jwt_core::key::KeyName;
use jwt_core::registry::key_path;
use keyregistry_mock::jwk::PublicJwk;
use keyregistry_mock::{AdminToken, Unexpected};
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List keys with their state: SERVICE, KEY ID, STATE, EXPIRES, THUMBPRINT, tab-separated
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
    /// Approve a key
    Approve(KeyArgs),
    /// Revoke a key: nobody gets it any more
    Revoke(KeyArgs),
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
                let admin = Admin::new(&registry)?;
                let keys = admin.ask(Method::GET, "/keys", "").await?;
                print(&table(&keys, state.as_deref(), service.as_deref()));
                Ok(())
            }
            Self::Show(key) => {
                print(&key.ask(Method::GET, "").await?);
                Ok(())
            }
            Self::Approve(key) => key.ask(Method::POST, "/approve").await.map(drop),
            Self::Revoke(key) => key.ask(Method::DELETE, "").await.map(drop),
            Self::Import {
                registry,
                service,
                kid,
                expires,
                file,
            } => {
                let admin = Admin::new(&registry)?;
                let (kid, jwk) = read_key(&file, kid)?;
                let expiration = expires.map(|seconds| format!("?expiration={seconds}"));
                let path = path_of(&service, &kid)? + &expiration.unwrap_or_default();
                admin.ask(Method::PUT, &path, &jwk).await?;
                print(&kid);
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
    let jwk = if text.contains("-----BEGIN ") {
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

/// A registry that runs.
struct Admin {
    url: String,
    token: AdminToken,
}

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

impl Admin {
    fn new(args: &RegistryArgs) -> Result<Self, Failure> {
        Ok(Self {
            url: args.admin.trim_end_matches('/').to_owned(),
            token: read_token(&args.token_file)?,
        })
    }

    async fn ask(&self, method: Method, path: &str, body: &str) -> Result<String, Failure> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".into()));
        let (status, text) = answer.map_err(|problem| Failure::Ask(self.url.clone(), problem))?;
        if status.is_success() {
            return Ok(text);
        }
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let reason = json.get("error").and_then(Value::as_str).unwrap_or(&text);
        Err(Failure::Refused(status.as_u16(), reason.to_owned()))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<(StatusCode, String), String> {
        let uri: Uri = format!("{}{path}", self.url)
            .parse()
            .map_err(|error| format!("no URL: {error}"))?;
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", self.token.authorization())
            .body(Full::new(Bytes::from(body.to_owned())))
            .map_err(|error| error.to_string())?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await.map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            source.unwrap_or_else(|| error.to_string())
        })?;
        let status = answer.status();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// One line a key.
fn table(keys: &str, state: Option<&str>, service: Option<&str>) -> String {
    let json: Value = serde_json::from_str(keys).unwrap_or_default();
    let keys = json.get("keys").and_then(Value::as_array);
    let text = |key: &Value, name: &str| match key.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let wanted = |key: &&Value| {
        state.is_none_or(|state| text(key, "state") == state)
            && service.is_none_or(|service| text(key, "service") == service)
    };
    let line = |key: &Value| {
        ["service", "kid", "state", "expires", "thumbprint"]
            .map(|name| printable(&text(key, name)))
            .join("\t")
    };
    let lines: Vec<String> = keys
        .into_iter()
        .flatten()
        .filter(wanted)
        .map(line)
        .collect();
    lines.join("\n")
}

/// Names are the publishers' words: they cannot make up columns and lines, or speak to a terminal.
fn printable(text: &str) -> String {
    let mut printable = String::new();
    for character in text.chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// That nobody reads it is no reason to fail.
fn print(text: &str) {
    if !text.is_empty() {
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}
