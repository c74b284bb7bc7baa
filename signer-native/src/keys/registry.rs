//! The key registry, as its client sees it (the publishing half of the protocol).

use super::Settings;
use super::generated::GeneratedKey;
use super::skew::ClockDifference;
use crate::clock::now;
use crate::signing::{RequestSigner, TokenClaims};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, DATE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jwt_core::audience;
use jwt_core::issue::Issuer;
use jwt_core::key::KeyName;
use jwt_core::key_lifecycle::{Publication, Standing};
use jwt_core::refusal::KeyProblem;
use jwt_core::registry::{Response, interpret, key_path};
use jwt_core::registry_token::RegistryCall;
use std::error::Error as _;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;
use tracing::warn;

/// How long the registry may take for a whole answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// No answer of a registry is longer.
const LONGEST_ANSWER: usize = 64 * 1024;

/// A token for the registry outlives the largest difference of clocks that is permitted by this.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60);

/// The base URL of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryUrl {
    base: String,
    path: String,
    audience: String,
}

/// Why a text is no [`RegistryUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an http or https URL without user, query and fragment, such as http://registry:8888/")]
pub struct RegistryUrlError;

impl RegistryUrl {
    /// Takes a URL apart. Its path is kept: the registry may live below one.
    pub fn parse(text: &str) -> Result<Self, RegistryUrlError> {
        let uri: Uri = text.parse().map_err(|_| RegistryUrlError)?;
        let scheme = uri
            .scheme_str()
            .filter(|it| matches!(*it, "http" | "https"));
        let authority = uri.authority().filter(|it| !it.as_str().contains('@'));
        let (Some(scheme), Some(authority)) = (scheme, authority) else {
            return Err(RegistryUrlError);
        };
        if uri.query().is_some() || text.contains('#') {
            return Err(RegistryUrlError);
        }
        Ok(Self {
            base: format!("{scheme}://{authority}"),
            path: uri.path().to_owned(),
            // The contract: aud = scheme://host of the registry.
            audience: audience::of_request(scheme, authority.as_str()).ok_or(RegistryUrlError)?,
        })
    }

    /// Scheme, host and port, as they are written.
    pub fn origin(&self) -> &str {
        &self.base
    }
}

/// What came of a call, and what there is to say about it.
#[derive(Debug)]
pub(super) struct Outcome<T> {
    pub(super) result: T,
    /// Why the result is not the one hoped for.
    pub(super) problem: Option<String>,
}

/// A registry, for the keys of one issuer.
#[derive(Debug)]
pub(super) struct RegistryClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: RegistryUrl,
    claims: TokenClaims,
}

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    cache_control: Option<HeaderValue>,
    body: Bytes,
    /// Where it is larger than permitted.
    clock: Option<ClockDifference>,
}

impl RegistryClient {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(PATIENCE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(settings.tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Self {
            // Calls are rare: a connection that was kept would mostly be a dead one.
            client: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build(connector),
            url: settings.registry.clone(),
            claims: settings.claims.clone(),
        }
    }

    /// Whether the registry serves this key, and this one indeed.
    pub(super) async fn check(&self, key: &GeneratedKey) -> Outcome<Standing> {
        let answer = match self.ask(Method::GET, key, "", None, Bytes::new()).await {
            Ok(answer) => answer,
            Err(problem) => return Outcome::unclear(Standing::Unclear, problem),
        };
        match self.interpret(key, &answer) {
            Ok(standing) => Outcome::good(standing),
            Err(problem) => Outcome::unclear(Standing::Unclear, problem),
        }
    }

    fn interpret(&self, key: &GeneratedKey, answer: &Answer) -> Result<Standing, String> {
        let name = self.name(key)?;
        let response = Response {
            status: answer.status.as_u16(),
            cache_control: answer.cache_control.as_ref().map(HeaderValue::as_bytes),
            body: &answer.body,
        };
        let fetched = interpret(&name, response, Duration::ZERO);
        match fetched.answer {
            // Its name is its thumbprint: another key of that name is none of ours.
            Ok(found) if found.thumbprint() == key.id() => Ok(Standing::Approved),
            Ok(_) => Err("the registry has another key of that name".into()),
            Err(KeyProblem::Unknown) => Ok(Standing::Unknown),
            Err(KeyProblem::AwaitsApproval) => Ok(Standing::AwaitsApproval),
            Err(KeyProblem::Expired) => Ok(Standing::Expired),
            Err(KeyProblem::Unavailable) => Err(self.explain(answer)),
            Err(KeyProblem::Unusable) => Err(fetched.detail.unwrap_or_default()),
        }
    }

    /// Publishes a key, with the signature of another or its own.
    pub(super) async fn publish(
        &self,
        key: &GeneratedKey,
        signed_by: &GeneratedKey,
        rotate_every: Option<Duration>,
    ) -> Outcome<Publication> {
        let terms = rotate_every.map(|every| {
            let expiration = key.published_at() + every.saturating_mul(2);
            let rotation = u32::try_from(every.as_secs().max(1)).unwrap_or(u32::MAX);
            (expiration.seconds_rounded_up(), rotation)
        });
        let answer = self.put(key, signed_by, terms).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(problem) => return Outcome::unclear(Publication::Unclear, problem),
        };
        let result = match answer.status.as_u16() {
            200 => return Outcome::good(Publication::Approved),
            202 => return Outcome::good(Publication::AwaitsApproval),
            // RFC 9110 §15.5.9, RFC 6585 §4: asking again later may help.
            408 | 429 => Publication::Unclear,
            403 => Publication::Forbidden,
            400..500 => Publication::Refused,
            _ => Publication::Unclear,
        };
        Outcome::unclear(result, self.explain(&answer))
    }

    /// Revokes a key; `true` when the registry has done it.
    pub(super) async fn revoke(&self, key: &GeneratedKey) -> Outcome<bool> {
        let answer = self.delete(key).await;
        match answer {
            Ok(answer) if answer.status == StatusCode::NO_CONTENT => Outcome::good(true),
            Ok(answer) => Outcome::unclear(false, self.explain(&answer)),
            Err(problem) => Outcome::unclear(false, problem),
        }
    }

    /// With the expiration and the rotation, where the key has them.
    async fn put(
        &self,
        key: &GeneratedKey,
        signed_by: &GeneratedKey,
        terms: Option<(i64, u32)>,
    ) -> Result<Answer, String> {
        let query = terms.map_or_else(String::new, |(expiration, rotation)| {
            format!("?expiration={expiration}&rotation={rotation}")
        });
        let body = Bytes::from(key.public_jwk().to_string());
        let (expiration, rotation) = terms.unzip();
        let call = RegistryCall::publish(&self.name(key)?, expiration, rotation, &body);
        let authorization = self.authorization(signed_by, &call)?;
        self.ask(Method::PUT, key, &query, Some(authorization), body)
            .await
    }

    async fn delete(&self, key: &GeneratedKey) -> Result<Answer, String> {
        let call = RegistryCall::revoke(&self.name(key)?, b"");
        let authorization = self.authorization(key, &call)?;
        self.ask(Method::DELETE, key, "", Some(authorization), Bytes::new())
            .await
    }

    async fn ask(
        &self,
        method: Method,
        key: &GeneratedKey,
        query: &str,
        authorization: Option<HeaderValue>,
        body: Bytes,
    ) -> Result<Answer, String> {
        let name = self.name(key)?;
        let path = key_path(&self.url.path, &name).ok_or("no URL can carry this issuer")?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}{query}", self.url.base))
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| error.to_string())?;
        let sent = SystemTime::now();
        match timeout(PATIENCE, self.exchange(request, sent)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        sent: SystemTime,
    ) -> Result<Answer, String> {
        let response = self.client.request(request).await.map_err(|error| {
            let cause = error.source().map(ToString::to_string);
            format!(
                "cannot ask the registry: {}",
                cause.unwrap_or_else(|| error.to_string())
            )
        })?;
        let clock = self.clock_difference(&response, sent);
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect().await;
        Ok(Answer {
            status: head.status,
            cache_control: head.headers.get(CACHE_CONTROL).cloned(),
            body: body
                .map_err(|error| format!("the registry's answer broke off: {error}"))?
                .to_bytes(),
            clock,
        })
    }

    /// A difference beyond what is permitted. It is said even where the call succeeds: other
    /// calls will not.
    fn clock_difference(
        &self,
        response: &http::Response<Incoming>,
        sent: SystemTime,
    ) -> Option<ClockDifference> {
        let date = response.headers().get(DATE)?.to_str().ok()?;
        let difference = ClockDifference::find(date, sent, SystemTime::now())?;
        if !difference.is_more_than(self.claims.max_skew) {
            return None;
        }
        warn!("{}", self.describe(difference));
        Some(difference)
    }

    fn describe(&self, difference: ClockDifference) -> String {
        let max_skew = self.claims.max_skew;
        format!("{difference}, more than max_skew ({max_skew:?}): one of the two is wrong")
    }

    /// An answer that was not the one hoped for, in a line.
    fn explain(&self, answer: &Answer) -> String {
        let mut text = format!("the registry answered {}", answer.status.as_u16());
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if let Some(reason) = json.get("error").and_then(|reason| reason.as_str()) {
            let printable = reason.chars().filter(|c| !c.is_control()).take(200);
            text = format!("{text}: {}", printable.collect::<String>());
        }
        match answer.clock {
            Some(difference) => format!("{text}; {}", self.describe(difference)),
            None => text,
        }
    }

    fn name(&self, key: &GeneratedKey) -> Result<KeyName, String> {
        KeyName::new(self.claims.issuer.clone(), key.id().to_owned())
            .map_err(|refusal| refusal.to_string())
    }

    /// A token for one call, signed by this key.
    fn authorization(
        &self,
        key: &GeneratedKey,
        call: &RegistryCall,
    ) -> Result<HeaderValue, String> {
        let signing_key = key.signing_key().map_err(|error| error.to_string())?;
        let issuer = Issuer {
            algorithm: signing_key.algorithm(),
            key_id: key.id().to_owned(),
            issuer: self.claims.issuer.clone(),
            expiration_time: self.claims.max_skew + TOKEN_LIFETIME,
            max_skew: self.claims.max_skew,
        };
        RequestSigner::new(signing_key, issuer, self.claims.nonce_length)
            .registry_authorization(&self.url.audience, call, now())
            .map_err(|error| error.to_string())
    }
}

impl<T> Outcome<T> {
    fn good(result: T) -> Self {
        Self {
            result,
            problem: None,
        }
    }

    fn unclear(result: T, problem: String) -> Self {
        Self {
            result,
            problem: Some(problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_base_url_whose_path_is_kept() {
        let url = RegistryUrl::parse("https://Registry.example:443/base/").unwrap();
        assert_eq!(url.base, "https://Registry.example:443");
        assert_eq!(url.path, "/base/");
        assert_eq!(url.audience, "https://registry.example");
        let url = RegistryUrl::parse("http://registry:8888").unwrap();
        assert_eq!(url.audience, "http://registry:8888");
    }

    #[test]
    fn other_urls_are_refused() {
        for text in [
            "",
            "registry:8888",
            "ftp://registry/",
            "http://user:pass@registry/",
            "http://registry/?query",
            "http://registry/#fragment",
            "/path",
        ] {
            assert_eq!(RegistryUrl::parse(text), Err(RegistryUrlError), "{text}");
        }
    }
}
