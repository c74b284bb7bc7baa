//! The decision about each request, as a state machine over plain values.
//!
//! A request whose token needs a key that is not at hand waits. The gate says which keys to
//! fetch; when an answer is recorded, every request that waited for it becomes ready, and is decided
//! when the host has time for it.

#[cfg(test)]
mod tests;
mod waiting;

pub use waiting::Ready;

use crate::credentials;
use crate::events::{Events, count_one};
use crate::keys::{Fetch, FetchId, Keys};
use crate::request::{self, RequestHead};
use jwt_core::config::verifier::{Access, Rules};
use jwt_core::excludes::is_excluded;
use jwt_core::handover::Handover;
use jwt_core::key::KeyName;
use jwt_core::machine::{Machine, Progress};
use jwt_core::nonce::NonceStore;
use jwt_core::policy::Policy;
use jwt_core::refusal::{KeyProblem, Refusal};
use jwt_core::registry::{Fetched, Response};
use jwt_core::signature::SignatureVerifier;
use jwt_core::time::Timestamp;
use jwt_core::token_cache::TokenCache;
use jwt_core::verify::VerifiedToken;
use std::rc::Rc;
use waiting::WaitingRoom;

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
    waiting: WaitingRoom,
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
            waiting: WaitingRoom::default(),
        }
    }

    /// What the upstream gets of a token.
    pub fn handover(&self) -> &Handover {
        &self.handover
    }

    /// The fields of a request that are ours to set, or could be taken for one: whatever sent them, they
    /// must not reach the upstream.
    pub fn reserved_fields(&self, head: &dyn RequestHead) -> Vec<String> {
        if !self.handover.has_own_headers() {
            return Vec::new();
        }
        let mut reserved = Vec::new();
        for name in head.names() {
            // A client may send one of them a thousand times.
            if self.handover.reserves(&name) && !reserved.contains(&name) {
                reserved.push(name);
            }
        }
        reserved
    }

    /// The fields of a request that carries its token, once the token is taken out of them.
    pub fn without_token(&self, head: &dyn RequestHead) -> Vec<credentials::Stripped> {
        credentials::strip(head, self.access.cookies_enabled)
    }

    /// The fields of a request whose token goes on, without what could be taken for another one:
    /// beside an Authorization no cookie has been looked at.
    pub fn without_others(&self, head: &dyn RequestHead) -> Vec<credentials::Stripped> {
        let enabled = self.access.cookies_enabled;
        let stripped = enabled.then(|| credentials::strip_beside(head)).flatten();
        stripped.into_iter().collect()
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
                Progress::AwaitsKey(token) => {
                    if self.waiting.admit(stream, token.key_wanted(), head.size()) {
                        return Decision::Wait;
                    }
                    self.refuse(Refusal::TooManyWaiting, redirect_from)
                }
            },
        }
    }

    /// The token of the request that is the host's effective context was accepted.
    pub fn note_accepted(&mut self, token: &VerifiedToken, now: Timestamp) {
        if let Keys::Remote(keys) = &mut self.parts.keys {
            keys.accepted(token.key_name().issuer(), now);
        }
    }

    /// A request is over, whatever became of it.
    pub fn on_stream_end(&mut self, stream: StreamId) {
        self.waiting.leave(stream);
    }

    /// Whether [`Gate::begin_fetches`], [`Gate::collect_from_others`] or [`Gate::next_ready`] is to be
    /// called soon.
    pub fn has_work(&self) -> bool {
        self.has_ready() || matches!(&self.parts.keys, Keys::Remote(keys) if keys.has_work())
    }

    /// Whether [`Gate::next_ready`] is to be called soon.
    pub fn has_ready(&self) -> bool {
        self.waiting.has_ready()
    }

    /// The requests to key servers to make now; each is handed out once.
    pub fn begin_fetches(&mut self, now: Timestamp) -> Vec<Fetch> {
        match &mut self.parts.keys {
            Keys::Preshared(..) => Vec::new(),
            Keys::Remote(keys) => keys.begin_fetches(now),
        }
    }

    /// Looks for answers that other workers have fetched.
    pub fn collect_from_others(&mut self, now: Timestamp) {
        let answers = match &mut self.parts.keys {
            Keys::Preshared(..) => Vec::new(),
            Keys::Remote(keys) => keys.collect_from_others(now),
        };
        for (name, answer) in &answers {
            self.waiting.answer(name, answer);
        }
    }

    /// A key server has answered, or cannot be asked: gives what the answer says of each key.
    pub fn on_response(
        &mut self,
        id: &FetchId,
        response: Result<Response<'_>, String>,
        now: Timestamp,
    ) -> Vec<(KeyName, Fetched)> {
        let Keys::Remote(keys) = &mut self.parts.keys else {
            return Vec::new();
        };
        let answers = keys.record(id, response, now);
        for (name, fetched) in &answers {
            self.waiting.answer(name, &fetched.answer);
        }
        answers
    }

    /// The next request that waits no more. It is for [`Gate::resume`], at once.
    pub fn next_ready(&mut self) -> Option<Ready> {
        self.waiting.next()
    }

    /// Decides about a request that has waited. `head` is that of the request once more: the token
    /// is read again, so all that depends on the time is checked at the time of the decision.
    pub fn resume(&mut self, ready: Ready, head: &dyn RequestHead, now: Timestamp) -> Decision {
        let redirect_from = self.redirect_from(head);
        let max_size = self.policy.max_token_size;
        let result = credentials::token(head, self.access.cookies_enabled, max_size)
            .and_then(|token| self.verify_with(&token, ready, now));
        self.decide(result, redirect_from)
    }

    fn verify_with(
        &mut self,
        token: &str,
        ready: Ready,
        now: Timestamp,
    ) -> Result<VerifiedToken, Refusal> {
        let mut machine = self.machine();
        let token = machine.check(token, now)?;
        // The answer is about one key. Were the head another one now, it would say nothing.
        if token.key_wanted() != &*ready.name {
            return Err(KeyProblem::Unavailable.into());
        }
        machine.resume_with_key(token, ready.answer, now)
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
        follows.then(|| request::url(head, &self.access))
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
