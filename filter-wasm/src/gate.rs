//! The decision about each request, as a state machine over plain values.
//!
//! A request whose token needs a key that is not at hand waits. The gate says which keys to
//! fetch; when an answer is recorded, it says what becomes of every request that waited for it.

#[cfg(test)]
mod tests;

use crate::credentials;
use crate::events::{Events, count_one};
use crate::keys::{Fetch, FetchId, Keys};
use crate::request::{self, RequestHead};
use jwt_core::config::verifier::{Access, Rules};
use jwt_core::excludes::is_excluded;
use jwt_core::handover::Handover;
use jwt_core::key::KeyName;
use jwt_core::machine::{KeyAnswer, Machine, Progress};
use jwt_core::nonce::NonceStore;
use jwt_core::policy::Policy;
use jwt_core::refusal::{KeyProblem, Refusal};
use jwt_core::registry::{Fetched, Response};
use jwt_core::signature::SignatureVerifier;
use jwt_core::time::Timestamp;
use jwt_core::token_cache::TokenCache;
use jwt_core::verify::{CurrentToken, VerifiedToken};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Requests that wait at once. A key server that does not answer holds each for as long as an
/// answer may take.
const MAX_WAITING: usize = 10_000;

/// The host's number of a request.
pub type StreamId = u32;

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// It may pass, with this token.
    Accept(VerifiedToken),
    /// It may pass without a token.
    Exempt,
    /// It is refused.
    Refuse(Refused),
    /// It waits; a later call decides.
    Wait,
}

/// A request that is refused.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The URL that was asked for, if the client is to be redirected.
    pub redirect_from: Option<String>,
}

/// What a key server's answer says of keys, and what becomes of the requests that waited for them.
#[derive(Debug, Default)]
pub struct Answered {
    /// Each key that the answer says something of.
    pub answers: Vec<(KeyName, Fetched)>,
    /// Each request that has waited.
    pub decisions: Vec<(StreamId, Decision)>,
}

/// The outside of a gate.
pub struct Parts {
    /// Where keys come from.
    pub keys: Keys,
    /// Who checks signatures.
    pub signatures: Box<dyn SignatureVerifier>,
    /// Who remembers nonces.
    pub nonces: Box<dyn NonceStore>,
    /// What is counted.
    pub events: Rc<Events>,
}

/// One verifier on one worker.
pub struct Gate {
    policy: Policy,
    access: Access,
    handover: Handover,
    parts: Parts,
    /// It dies with the policy that its tokens satisfy.
    token_cache: Option<TokenCache>,
    waiting: BTreeMap<StreamId, Waiting>,
}

struct Waiting {
    token: CurrentToken,
    redirect_from: Option<String>,
}

impl Gate {
    /// A gate with its parts.
    pub fn new(rules: Rules, parts: Parts) -> Self {
        let Rules {
            policy,
            access,
            handover,
            ..
        } = rules;
        Self {
            policy,
            access,
            handover,
            token_cache: parts.nonces.permits_reuse().then(TokenCache::default),
            parts,
            waiting: BTreeMap::new(),
        }
    }

    /// What the upstream gets of a token.
    pub fn handover(&self) -> &Handover {
        &self.handover
    }

    /// The fields of a request that are ours to set, or could be taken for one: whoever sent them, they
    /// must not reach the upstream.
    pub fn reserved_fields(&self, head: &dyn RequestHead) -> Vec<String> {
        if !self.handover.has_own_headers() {
            return Vec::new();
        }
        let mut names = head.names();
        names.retain(|name| self.handover.reserves(name));
        names
    }

    /// The fields of a request that carries its token, once the token is taken out of them.
    pub fn without_token(&self, head: &dyn RequestHead) -> Vec<credentials::Stripped> {
        credentials::strip(head, self.access.cookies_enabled)
    }

    /// The longest token that is looked at.
    pub fn max_token_size(&self) -> usize {
        self.policy.max_token_size
    }

    /// The fields of a request that needs no token, once its credentials are taken out, where they
    /// are not to go on.
    pub fn without_unverified(&self, head: &dyn RequestHead) -> Vec<credentials::Stripped> {
        match self.handover.forward_unverified {
            true => Vec::new(),
            false => credentials::strip_unverified(head, self.access.cookies_enabled),
        }
    }

    /// Where requests without a good token are redirected to.
    pub fn auth_redirect_url(&self) -> Option<&str> {
        self.access.auth_redirect_url.as_deref()
    }

    /// A request has come.
    pub fn on_request(
        &mut self,
        stream: StreamId,
        head: &dyn RequestHead,
        now: Timestamp,
    ) -> Decision {
        if self.needs_no_token(head) {
            count_one(&self.parts.events.exempt);
            return Decision::Exempt;
        }
        let redirect_from = self.redirect_from(head);
        match credentials::token(
            head,
            self.access.cookies_enabled,
            self.policy.max_token_size,
        ) {
            Err(refusal) => self.refuse(refusal, redirect_from),
            Ok(token) => match self.machine().start(&token, now) {
                Progress::Done(result) => self.decide(result, redirect_from),
                Progress::AwaitsKey(token) => self.wait(stream, token, redirect_from),
            },
        }
    }

    /// A request is over, whatever became of it.
    pub fn on_stream_end(&mut self, stream: StreamId) {
        self.waiting.remove(&stream);
    }

    /// Whether [`Gate::begin_fetches`] and [`Gate::collect_from_others`] are to be called soon.
    pub fn has_work(&self) -> bool {
        matches!(&self.parts.keys, Keys::Remote(keys) if keys.has_work())
    }

    /// The requests to key servers to make now; each is handed out once.
    pub fn begin_fetches(&mut self, now: Timestamp) -> Vec<Fetch> {
        match &mut self.parts.keys {
            Keys::Preshared(..) => Vec::new(),
            Keys::Remote(keys) => keys.begin_fetches(now),
        }
    }

    /// Decides about requests whose keys other workers have fetched.
    pub fn collect_from_others(&mut self, now: Timestamp) -> Vec<(StreamId, Decision)> {
        let answers = match &mut self.parts.keys {
            Keys::Preshared(..) => Vec::new(),
            Keys::Remote(keys) => keys.collect_from_others(now),
        };
        self.resume(answers.iter().map(|(name, answer)| (name, answer)), now)
    }

    /// A key server has answered, or cannot be asked.
    pub fn on_response(
        &mut self,
        id: &FetchId,
        response: Result<Response<'_>, String>,
        now: Timestamp,
    ) -> Answered {
        let Keys::Remote(keys) = &mut self.parts.keys else {
            return Answered::default();
        };
        let answers = keys.record(id, response, now);
        let decisions = self.resume(answers.iter().map(|(name, f)| (name, &f.answer)), now);
        Answered { answers, decisions }
    }

    /// Lets go of the requests that wait for these keys.
    fn resume<'a>(
        &mut self,
        answers: impl Iterator<Item = (&'a KeyName, &'a KeyAnswer)>,
        now: Timestamp,
    ) -> Vec<(StreamId, Decision)> {
        let answers: HashMap<_, _> = answers.collect();
        let waits = |_: &StreamId, it: &mut Waiting| answers.contains_key(it.token.key_wanted());
        let waiters: Vec<_> = self.waiting.extract_if(.., waits).collect();
        let mut decisions = Vec::with_capacity(waiters.len());
        for (stream, waiting) in waiters {
            if let Some(&answer) = answers.get(waiting.token.key_wanted()) {
                let mut machine = self.machine();
                let result = machine.resume_with_key(waiting.token, answer.clone(), now);
                decisions.push((stream, self.decide(result, waiting.redirect_from)));
            }
        }
        decisions
    }

    fn needs_no_token(&self, head: &dyn RequestHead) -> bool {
        let Access {
            excludes,
            allow_cors_preflight,
            ..
        } = &self.access;
        if *allow_cors_preflight && request::is_cors_preflight(head) {
            return true;
        }
        !excludes.is_empty()
            && request::text(head, ":path").is_some_and(|path| is_excluded(excludes, &path))
    }

    /// Browsers follow no redirect of a WebSocket's opening or of a CORS preflight.
    fn redirect_from(&self, head: &dyn RequestHead) -> Option<String> {
        self.access.auth_redirect_url.as_ref()?;
        let follows = !request::is_upgrade(head) && !request::is_cors_preflight(head);
        follows.then(|| request::url(head))
    }

    fn machine(&mut self) -> Machine<'_> {
        Machine {
            policy: &self.policy,
            keys: &mut self.parts.keys,
            signatures: &*self.parts.signatures,
            nonces: &mut *self.parts.nonces,
            token_cache: self.token_cache.as_mut(),
        }
    }

    fn wait(
        &mut self,
        stream: StreamId,
        token: CurrentToken,
        redirect_from: Option<String>,
    ) -> Decision {
        if self.waiting.len() >= MAX_WAITING {
            return self.refuse(KeyProblem::Unavailable.into(), redirect_from);
        }
        let waiting = Waiting {
            token,
            redirect_from,
        };
        self.waiting.insert(stream, waiting);
        Decision::Wait
    }

    fn decide(
        &self,
        result: Result<VerifiedToken, Refusal>,
        redirect_from: Option<String>,
    ) -> Decision {
        match result {
            Ok(token) => {
                count_one(&self.parts.events.accepted);
                if token.was_known() {
                    count_one(&self.parts.events.token_cache_hits);
                }
                Decision::Accept(token)
            }
            Err(refusal) => self.refuse(refusal, redirect_from),
        }
    }

    fn refuse(&self, refusal: Refusal, redirect_from: Option<String>) -> Decision {
        self.parts.events.count_refused(&refusal);
        // Another token would not help where the fault is ours.
        let redirect_from = redirect_from.filter(|_| !refusal.is_temporary());
        Decision::Refuse(Refused {
            refusal,
            redirect_from,
        })
    }
}
