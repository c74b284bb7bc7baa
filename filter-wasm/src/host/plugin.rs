//! What the requests of one configuration share on one worker, and how decisions about them are
//! carried out.

use super::clients::HostClients;
use super::head::HostHead;
use super::metrics::Metrics;
use super::refusal_log::RefusalLog;
use super::shared_data::HostSharedData;
use super::signature;
use crate::credentials::Stripped;
use crate::events::{Events, count_one};
use crate::gate::{Decision, Gate, Parts, Refused};
use crate::keys::{Chance, Keys, RemoteKeys, Source};
use crate::nonces::{self, NonceRules, SharedNonces};
use crate::reply::{Reply, reply};
use crate::sealed::Sealed;
use jwt_core::config::filter::{FilterConfig, KeyServer};
use jwt_core::config::verifier::NonceStorage;
use jwt_core::nonce::{NonceStore, VoidNonceStore};
use jwt_core::policy::Policy;
use jwt_core::time::{CLOCK_TOLERANCE, Timestamp};
use jwt_core::verify::VerifiedToken;
use log::warn;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{Action, MapType};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// The reason of a refusal in filter state, for access logs:
/// `%FILTER_STATE(wasm.jwtproxy.reason:PLAIN)%`.
const REASON_PROPERTY: &str = "jwtproxy.reason";

/// The claims of an accepted token in filter state, as JSON.
const CLAIMS_PROPERTY: &str = "jwtproxy.claims";

pub(super) struct Plugin {
    pub(super) gate: RefCell<Gate>,
    pub(super) metrics: Metrics,
    events: Rc<Events>,
    refusals: RefusalLog,
    tick_asked: Cell<bool>,
    last_tick: Cell<Option<Timestamp>>,
}

impl Plugin {
    pub(super) fn new(mut config: FilterConfig) -> Self {
        let events = Rc::<Events>::default();
        let shared = Sealed::new(Rc::new(HostSharedData), config.shared_data_secret.clone());
        if let NonceStorage::Local {
            capacity,
            restart_guard: true,
        } = config.rules.nonce_storage
        {
            let scope = scope(&config.rules.policy);
            let since = nonces::known_since(&shared, &scope, capacity, super::now());
            config.rules.policy.not_issued_before = Some(since);
        }
        let parts = Parts {
            signatures: signature::best_verifier(events.clone()),
            nonces: nonce_store(&config, shared.clone(), events.clone()),
            keys: keys(config.key_server, shared.clone(), events.clone()),
            events: events.clone(),
        };
        let gate = RefCell::new(Gate::new(config.rules, parts));
        Self {
            gate,
            metrics: Metrics::define(),
            events,
            refusals: RefusalLog::new(),
            tick_asked: Cell::new(false),
            last_tick: Cell::new(None),
        }
    }

    /// Asks for a tick of the root context as soon as possible, if there is work for it. A fetch must
    /// be sent from there: an answer to a stream's own call is lost when the stream ends first, and
    /// others may wait for it.
    ///
    /// Asks once until the tick comes: the host starts its timer anew each time, so many requests
    /// that ask would put it off for ever.
    pub(super) fn see_to_work(&self) {
        if self.gate.borrow().has_work() && !self.tick_asked.replace(true) {
            let _ = hostcalls::set_tick_period(Duration::from_millis(1));
        }
    }

    /// The tick has come.
    pub(super) fn ticked(&self, now: Timestamp) {
        self.tick_asked.set(false);
        let before = self.last_tick.replace(Some(now));
        if let Some(before) = before.filter(|before| *before > now + CLOCK_TOLERANCE) {
            count_one(&self.events.clock_set_back);
            warn!(
                "jwtproxy: the clock was set back by {:?}: keys are fetched again, and tokens that \
                 expired meanwhile stay refused",
                before.since(now)
            );
        }
    }

    /// Raises the metrics by what has happened, and says what the log leaves out.
    pub(super) fn flush_events(&self, now: Timestamp) {
        self.metrics.raise(&self.events);
        self.refusals.own_up(now);
    }

    /// Carries out a decision about the request that is the host's effective context.
    pub(super) fn carry_out(&self, decision: &Decision, now: Timestamp) -> Action {
        match decision {
            Decision::Accept(token) => {
                self.gate.borrow_mut().note_accepted(token, now);
                self.hand_over(token);
                Action::Continue
            }
            Decision::Exempt => {
                self.remove_reserved_headers();
                replace(self.gate.borrow().without_unverified(&HostHead::default()));
                Action::Continue
            }
            Decision::Refuse(refused) => {
                self.refuse(refused, now);
                Action::Pause
            }
            Decision::Wait => Action::Pause,
        }
    }

    fn hand_over(&self, token: &VerifiedToken) {
        self.remove_reserved_headers();
        let gate = self.gate.borrow();
        let handover = gate.handover();
        for (name, value) in handover.headers(token.payload()) {
            let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, name, Some(&value));
        }
        if handover.claims_in_filter_state {
            let _ = hostcalls::set_property(vec![CLAIMS_PROPERTY], Some(token.payload()));
        }
        let head = HostHead::default();
        replace(match handover.forward {
            true => gate.without_others(&head),
            false => gate.without_token(&head),
        });
    }

    fn remove_reserved_headers(&self) {
        let gate = self.gate.borrow();
        for name in &gate.reserved_fields(&HostHead::default()) {
            let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, name, None);
        }
    }

    /// Removes from the trailer section what must not reach the upstream there.
    pub(super) fn clean_trailers(&self) {
        const MAP: MapType = MapType::HttpRequestTrailers;
        let gate = self.gate.borrow();
        let names = hostcalls::get_map_bytes(MAP).unwrap_or_default();
        for (name, _) in names {
            if !gate.handover().permits_trailer(&name) {
                let _ = hostcalls::set_map_value(MAP, &name, None);
            }
        }
    }

    fn refuse(&self, refused: &Refused, now: Timestamp) {
        let gate = self.gate.borrow();
        let label = refused.refusal.label();
        let _ = hostcalls::set_property(vec![REASON_PROPERTY], Some(label.as_bytes()));
        self.refusals.write(refused, gate.max_token_size(), now);
        let Reply {
            status,
            headers,
            body,
        } = reply(refused, gate.auth_redirect_url());
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let _ = hostcalls::send_http_response(status, headers, Some(body.as_bytes()));
    }
}

fn replace(fields: Vec<Stripped>) {
    for Stripped { name, value } in fields {
        let map = MapType::HttpRequestHeaders;
        let _ = hostcalls::set_map_value_bytes(map, name, value.as_deref());
    }
}

fn keys(key_server: KeyServer, shared: Sealed, events: Rc<Events>) -> Keys {
    let source = match key_server {
        KeyServer::Preshared(preshared) => return Keys::preshared(preshared),
        KeyServer::Keyregistry(registry) => Source::Registry(registry),
        KeyServer::Jwks(jwks) => Source::Sets(jwks),
    };
    let chance = Chance {
        seed: u64::from_le_bytes(random("the times of key fetches")),
        hash_key: random("the places of shared keys"),
    };
    let clients = Box::new(HostClients);
    let keys = RemoteKeys::new(source, shared, clients, events, chance);
    Keys::Remote(Box::new(keys))
}

/// Random bytes; zeros, and a warning, where the host has none.
fn random<const LENGTH: usize>(purpose: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    if let Err(error) = getrandom::fill(&mut bytes) {
        warn!("jwtproxy: no random numbers for {purpose}: {error}");
    }
    bytes
}

fn nonce_store(config: &FilterConfig, shared: Sealed, events: Rc<Events>) -> Box<dyn NonceStore> {
    let NonceStorage::Local { capacity, .. } = config.rules.nonce_storage else {
        return Box::new(VoidNonceStore);
    };
    // Without a secret key an attacker could aim at a bucket, but no replay gets through.
    let hash_key = random("the nonce store's hash key");
    let policy = &config.rules.policy;
    let rules = NonceRules {
        scope: scope(policy),
        capacity,
        longest_life: policy.max_ttl.saturating_add(policy.max_skew),
    };
    Box::new(SharedNonces::new(shared, rules, hash_key, events))
}

/// Verifiers of one audience, however it is written, share their nonces: a token is good for each.
fn scope(policy: &Policy) -> String {
    policy.audience.normalized().to_owned()
}
