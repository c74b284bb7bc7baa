//! The admin listener of a registry that runs.

use super::table::printable;
use super::{Failure, RegistryArgs, read_token};
use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use keyregistry_mock::AdminToken;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::time::Duration;

/// A registry that runs.
pub(super) struct Admin {
    url: String,
    token: AdminToken,
}

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

impl Admin {
    pub(super) fn new(args: &RegistryArgs) -> Result<Self, Failure> {
        Ok(Self {
            url: args.admin.trim_end_matches('/').to_owned(),
            token: read_token(&args.token_file)?,
        })
    }

    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<String, Failure> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".into()));
        let (status, text) = answer.map_err(|problem| Failure::Ask(self.url.clone(), problem))?;
        if status.is_success() {
            return Ok(text);
        }
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let reason = json.get("error").and_then(Value::as_str).unwrap_or(&text);
        Err(Failure::Refused(status.as_u16(), printable(reason)))
    }

    /// Every key there is, a page at a time.
    pub(super) async fn keys(&self) -> Result<Vec<Value>, Failure> {
        let mut keys = Vec::new();
        let mut path = "/keys".to_owned();
        loop {
            let page = self.ask(Method::GET, &path, "").await?;
            let mut page: Value = serde_json::from_str(&page).unwrap_or_default();
            if let Some(Value::Array(more)) = page.get_mut("keys").map(Value::take) {
                keys.extend(more);
            }
            let Some(next) = page.get("next").filter(|next| next.is_object()) else {
                return Ok(keys);
            };
            let text = |name| next.get(name).and_then(Value::as_str).map(str::to_owned);
            let names = ["after_service", "after_kid"].map(|name| (name, text(name)));
            path = format!("/keys?{}", query(&names));
        }
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

/// The parameters that have a value, as they stand in a URL.
pub(super) fn query(parameters: &[(&str, Option<String>)]) -> String {
    let encoded = parameters.iter().filter_map(|(name, value)| {
        let value = utf8_percent_encode(value.as_ref()?, NON_ALPHANUMERIC);
        Some(format!("{name}={value}"))
    });
    encoded.collect::<Vec<_>>().join("&")
}
