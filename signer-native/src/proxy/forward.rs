//! One request: from the client, signed, to its origin server, and the response back.

use super::egress::{Egress, Protocol, Upstreams};
use super::error::Error;
use super::hop_by_hop;
use super::lifetime::Lifetime;
use super::repeat::Attempts;
use super::request_body::{ClientBody, Kept, RequestBody};
use super::target::{Scope, Target};
use super::upgrade::{self, Upgrade};
use crate::admin::{Metrics, Outcome};
use crate::clock::now;
use crate::policy::{Extras, Permitted};
use crate::signing::RequestSigner;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Incoming};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::debug;

/// What goes back to the client: the upstream's body as it comes, or a text of ours.
pub(super) type ResponseBody = Either<Incoming, Full<Bytes>>;

/// Signs and forwards requests, over connections that it keeps and reuses.
#[derive(Debug)]
pub(super) struct Forwarder {
    upstreams: Upstreams,
    signer: Arc<RequestSigner>,
    /// What the parent proxy wants to see on requests that it forwards itself.
    parent_credentials: Option<HeaderValue>,
    /// Of a connection that has switched to another protocol.
    idle_timeout: Duration,
    kept: Kept,
    metrics: Arc<Metrics>,
}

impl Forwarder {
    pub(super) fn new(
        signer: Arc<RequestSigner>,
        upstreams: Upstreams,
        egress: &Egress,
        idle_timeout: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        let parent = egress.parent.as_ref();
        Self {
            upstreams,
            signer,
            parent_credentials: parent.and_then(|parent| parent.credentials().cloned()),
            idle_timeout,
            kept: Kept::default(),
            metrics,
        }
    }

    pub(super) fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// Dropped when the client goes away, and the upstream request with it.
    pub(super) async fn forward(
        &self,
        mut request: Request<Incoming>,
        scope: &Scope,
        lifetime: &Lifetime,
    ) -> Result<(Response<Incoming>, Outcome), Error> {
        let target = Target::of(&request, scope)?;
        let reach = self.upstreams.reach();
        let decided = reach
            .decide(&target.authority, &target.host, target.port)
            .await;
        let decided =
            decided.map_err(|barrier| Error::from_barrier(target.authority.clone(), &barrier))?;
        let upgrade = Upgrade::wanted(&mut request, self.idle_timeout);
        let protocol = protocol(&request, &target, upgrade.is_some());
        let (mut parts, body) = prepare(request, &target).into_parts();
        if upgrade.is_some() {
            upgrade::ask(&mut parts.headers);
        }
        self.add_parent_credentials(&mut parts, protocol);
        let body = ClientBody::new(body, self.kept.clone());
        let mut attempts = Attempts::of(&parts.method);
        let response = loop {
            let mut request = Request::from_parts(parts.clone(), body.attempt());
            // A token that a server may have seen is used up.
            self.put_token(&mut request, &target, decided.permitted)?;
            let started = Instant::now();
            match (self.upstreams.request(request, decided.route, protocol)).await {
                Ok(response) => {
                    self.metrics.upstream_answered_in(started.elapsed());
                    break response;
                }
                Err(error) if attempts.go_on(&error, &body).await => {
                    debug!(authority = %target.authority, %error, "sent once more");
                }
                Err(error) => {
                    let failure = body.failure();
                    let authority = target.authority.clone();
                    return Err(Error::from_client(authority, &error, failure));
                }
            }
        };
        body.answered();
        let outcome = match decided.permitted {
            Permitted::Sign(_) => Outcome::Signed,
            Permitted::Tunnel | Permitted::Pass => Outcome::Passed,
        };
        Ok((pass_back(response, target, upgrade, lifetime)?, outcome))
    }

    fn put_token(
        &self,
        request: &mut Request<RequestBody>,
        target: &Target,
        permitted: Permitted<'_>,
    ) -> Result<(), Error> {
        match permitted {
            // There are no bytes to be passed untouched in a request that we had to read.
            Permitted::Pass | Permitted::Tunnel => Ok(()),
            Permitted::Sign(extras) => self.sign(request.headers_mut(), target, extras),
        }
    }

    fn sign(&self, headers: &mut HeaderMap, target: &Target, extras: &Extras) -> Result<(), Error> {
        let audience = extras.audience.as_deref().unwrap_or(&target.audience);
        let checked = self.upstreams.reach().check_audience(audience);
        checked.map_err(|barrier| Error::from_barrier(target.authority.clone(), &barrier))?;
        let extra = extra_claims(headers, extras)?;
        let started = Instant::now();
        let authorization = self.signer.authorization(audience, &extra, now())?;
        self.metrics.signed_in(started.elapsed());
        headers.insert(AUTHORIZATION, authorization);
        Ok(())
    }

    /// RFC 9110 §11.7.2. A tunnel was opened with them already.
    fn add_parent_credentials(&self, request: &mut Parts, protocol: Protocol) {
        let forwarded_by_parent =
            protocol == Protocol::Negotiated && request.uri.scheme() == Some(&Scheme::HTTP);
        if let Some(credentials) = (self.parent_credentials.clone()).filter(|_| forwarded_by_parent)
        {
            request.headers.insert(PROXY_AUTHORIZATION, credentials);
        }
    }
}

/// The request as the origin server gets it, but for its token.
fn prepare(mut request: Request<Incoming>, target: &Target) -> Request<Incoming> {
    let version = request.version();
    let unknown_length = request.body().size_hint().exact().is_none();
    hop_by_hop::from_request(request.headers_mut(), version);
    delimit(request.headers_mut(), unknown_length);
    join_cookies(request.headers_mut());
    // RFC 9112 §3.2.2: "the proxy MUST ignore the received Host header field (if any) and instead
    // replace it with the host information of the request-target." The HTTP client does where it
    // sends HTTP/1.1; over HTTP/2 the target says it in `:authority`, and nginx before 1.29.1
    // answers 400 where both are.
    request.headers_mut().remove(HOST);
    *request.uri_mut() = target.uri.clone();
    // RFC 9112 §2.3: "Intermediaries that process HTTP messages […] MUST send their own
    // HTTP-version in forwarded messages". It becomes HTTP/2 where the server speaks that.
    *request.version_mut() = Version::HTTP_11;
    request
}

/// The headers whose values become claims go no further: whoever reads the token has no use for
/// them, and nobody is to mistake them for something that was signed.
fn extra_claims<'a>(
    headers: &mut HeaderMap,
    extras: &'a Extras,
) -> Result<Cow<'a, Map<String, Value>>, Error> {
    let mut claims = Cow::Borrowed(&extras.claims);
    for (claim, name) in &extras.claims_from_headers {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { continue };
        let text = str::from_utf8(value.as_bytes()).ok();
        let text = text.filter(|_| values.next().is_none());
        let text = text.ok_or_else(|| Error::ClaimHeader(name.clone()))?;
        claims.to_mut().insert(claim.clone(), Value::from(text));
    }
    for (_, name) in &extras.claims_from_headers {
        headers.remove(name);
    }
    Ok(claims)
}

fn protocol<B>(request: &Request<B>, target: &Target, upgrade: bool) -> Protocol {
    let plain = target.uri.scheme() == Some(&Scheme::HTTP);
    match request.version() {
        _ if upgrade => Protocol::Http1,
        // Without TLS nothing is negotiated: the client knows what the server speaks.
        Version::HTTP_2 if plain => Protocol::Http2PriorKnowledge,
        _ => Protocol::Negotiated,
    }
}

/// The response as the client gets it.
fn pass_back(
    mut response: Response<Incoming>,
    target: Target,
    upgrade: Option<Upgrade>,
    lifetime: &Lifetime,
) -> Result<Response<Incoming>, Error> {
    if let Some(coding) = hop_by_hop::unknown_transfer_coding(response.headers()) {
        return Err(Error::ResponseTransferCoding(target.authority, coding));
    }
    hop_by_hop::from_response(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // RFC 9110 §15.2.2: 101 accepts an Upgrade, and none other is ever sent.
        let upgrade = upgrade.ok_or(Error::SwitchedProtocols(target.authority))?;
        upgrade.join(&mut response, lifetime);
    }
    Ok(response)
}

/// RFC 9113 §8.2.3: cookies that came in several fields over HTTP/2 "MUST be concatenated into a
/// single octet string using the two-octet delimiter of 0x3B, 0x20" for anything but HTTP/2.
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// RFC 9112 §6.3: without Content-Length or Transfer-Encoding a request has no body. hyper adds
/// what is needed, except on methods that seldom have one: a GET would lose its chunked body.
fn delimit(headers: &mut HeaderMap, unknown_length: bool) {
    if unknown_length && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use serde_json::json;

    #[test]
    fn a_claim_from_a_header_takes_the_header_away() {
        let tenant = HeaderName::from_static("x-tenant");
        let extras = Extras {
            claims: Map::from_iter([("env".into(), json!("test")), ("tenant".into(), json!(0))]),
            claims_from_headers: vec![("tenant".into(), tenant.clone())],
            ..Extras::default()
        };
        let mut headers = HeaderMap::new();
        let claims = extra_claims(&mut headers, &extras).unwrap().into_owned();
        assert_eq!(claims["tenant"], 0);

        headers.insert(&tenant, HeaderValue::from_static("blue"));
        let claims = extra_claims(&mut headers, &extras).unwrap().into_owned();
        assert_eq!(
            Value::from(claims),
            json!({"env": "test", "tenant": "blue"})
        );
        assert!(headers.is_empty());

        headers.append(&tenant, HeaderValue::from_static("blue"));
        headers.append(&tenant, HeaderValue::from_static("red"));
        let error = extra_claims(&mut headers, &extras).unwrap_err();
        assert!(matches!(error, Error::ClaimHeader(name) if name == tenant));
    }

    #[test]
    fn cookies_in_several_fields_become_one() {
        let mut headers = HeaderMap::new();
        for cookie in ["a=1", "b=2", "c=3"] {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        join_cookies(&mut headers);
        let cookies: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }
}
