//! The root context: one for each configuration on each worker. It fetches keys.

use super::metrics::Metrics;
use super::shared_data::HostSharedData;
use super::signature;
use super::stream::Stream;
use crate::configuration;
use crate::gate::{Decision, Gate, StreamId};
use crate::keys::{Fetch, Keys};
use crate::nonces::SharedNonces;
use crate::reply::Reply;
use jwt_core::config::filter::{FilterConfig, KeyServer, Keyregistry};
use jwt_core::config::verifier::NonceStorage;
use jwt_core::key::KeyName;
use jwt_core::nonce::{NonceStore, VoidNonceStore};
use jwt_core::refusal::{KeyProblem, Refusal};
use jwt_core::registry::{self, Fetched, Response};
use log::{error, info, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType, LogLevel, MapType};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// The largest answer of a registry that is read, in bytes. A JWK of the largest key has less
/// than 2 KiB.
const MAX_ANSWER: usize = 64 * 1024;

/// What the streams of one configuration share.
pub(super) struct Plugin {
    pub(super) gate: RefCell<Gate>,
    pub(super) metrics: Metrics,
    registry: Option<Keyregistry>,
}

#[derive(Default)]
pub(super) struct Root {
    plugin: Option<Rc<Plugin>>,
    in_flight: HashMap<u32, KeyName>,
}

impl Plugin {
    fn new(config: FilterConfig) -> Self {
        let signatures = signature::best_verifier();
        let nonces = nonce_store(&config);
        let registry = match &config.key_server {
            KeyServer::Keyregistry(registry) => Some(registry.clone()),
            KeyServer::Preshared(_) => None,
        };
        let keys = match config.key_server {
            KeyServer::Preshared(preshared) => Keys::preshared(preshared),
            KeyServer::Keyregistry(registry) => Keys::registry(registry, Rc::new(HostSharedData)),
        };
        let gate = RefCell::new(Gate::new(config.rules.policy, keys, signatures, nonces));
        Self {
            gate,
            metrics: Metrics::define(),
            registry,
        }
    }

    /// Asks for [`RootContext::on_tick`] as soon as possible. A fetch must be sent from the root
    /// context: an answer to a stream's call is lost when the stream ends first, and others may
    /// wait for it.
    pub(super) fn fetch_soon() {
        let _ = hostcalls::set_tick_period(Duration::from_millis(1));
    }

    pub(super) fn refuse(&self, refusal: &Refusal) {
        self.metrics.count_refused(refusal);
        let Reply {
            status,
            headers,
            body,
        } = Reply::from(refusal);
        let _ = hostcalls::send_http_response(status, headers, Some(body.as_bytes()));
    }
}

fn nonce_store(config: &FilterConfig) -> Box<dyn NonceStore> {
    let NonceStorage::Local { capacity } = config.rules.nonce_storage else {
        return Box::new(VoidNonceStore);
    };
    let mut hash_key = [0; 16];
    if let Err(error) = getrandom::getrandom(&mut hash_key) {
        // Without a secret key an attacker could aim at a bucket, but no replay gets through.
        warn!("jwtproxy: no random numbers for the nonce store's hash key: {error}");
    }
    let scope = config.rules.policy.audience.as_str().to_owned();
    Box::new(SharedNonces::new(
        Rc::new(HostSharedData),
        scope,
        capacity,
        hash_key,
    ))
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        // The host's own level, so that what would not be written is not formatted either.
        proxy_wasm::set_log_level(hostcalls::get_log_level().unwrap_or(LogLevel::Info));
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        match configuration::read(&bytes) {
            Ok(config) => {
                self.plugin = Some(Rc::new(Plugin::new(config)));
                true
            }
            Err(mistakes) => {
                error!("jwtproxy: the configuration of the filter is refused:\n{mistakes}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        // The next fetch asks for its own tick.
        self.set_tick_period(Duration::ZERO);
        let Some(plugin) = self.plugin.clone() else {
            return;
        };
        let Some(registry) = &plugin.registry else {
            return;
        };
        let fetches = plugin.gate.borrow_mut().take_fetches();
        for fetch in fetches {
            match self.send(registry, &fetch) {
                Ok(token) => drop(self.in_flight.insert(token, fetch.name)),
                Err(problem) => conclude(&plugin, &fetch.name, &registry::unavailable(problem)),
            }
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(context_id, self.plugin.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _: usize) {
        let Some(name) = self.in_flight.remove(&token) else {
            return;
        };
        let Some(plugin) = self.plugin.clone() else {
            return;
        };
        let Some(registry) = &plugin.registry else {
            return;
        };
        // A call that was reset has no headers, and asking for one would trap.
        let fetched = match headers {
            0 => registry::unavailable("the connection to the registry was lost".into()),
            _ => read_answer(registry, &name, body_size),
        };
        conclude(&plugin, &name, &fetched);
    }
}

impl Root {
    fn send(&self, registry: &Keyregistry, fetch: &Fetch) -> Result<u32, String> {
        let headers = vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":path", &fetch.path),
            (":authority", &registry.authority),
            ("accept", "application/json"),
        ];
        self.dispatch_http_call(&registry.cluster, headers, None, vec![], registry.timeout)
            .map_err(|status| {
                format!(
                    "cluster {:?} cannot be called: {status:?}",
                    registry.cluster
                )
            })
    }
}

fn read_answer(registry: &Keyregistry, name: &KeyName, body_size: usize) -> Fetched {
    let header = |name| {
        hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, name)
            .ok()
            .flatten()
    };
    let status = header(":status")
        .and_then(|status| str::from_utf8(&status).ok()?.parse().ok())
        .unwrap_or(0);
    if body_size > MAX_ANSWER {
        return registry::unavailable(format!("the registry answered with {body_size} bytes"));
    }
    let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, body_size);
    let body = body.ok().flatten().unwrap_or_default();
    let cache_control = header("cache-control");
    let response = Response {
        status,
        cache_control: cache_control.as_deref(),
        body: &body,
    };
    registry::interpret(name, response, registry.cache_duration)
}

/// Records the answer to a fetch and lets go of the requests that waited for it.
fn conclude(plugin: &Plugin, name: &KeyName, fetched: &Fetched) {
    plugin.metrics.count_fetch(&fetched.answer);
    match (&fetched.answer, &fetched.detail) {
        (Err(problem @ (KeyProblem::Unavailable | KeyProblem::Unusable)), Some(detail)) => {
            warn!("jwtproxy: key {name}: {problem}: {detail}");
        }
        (Err(problem), _) => info!("jwtproxy: key {name}: {problem}"),
        (Ok(_), _) => info!("jwtproxy: key {name}: fetched for {:?}", fetched.lifetime),
    }
    let decisions = plugin
        .gate
        .borrow_mut()
        .on_fetched(name, fetched, super::now());
    for (stream, decision) in decisions {
        apply(plugin, stream, &decision);
    }
}

fn apply(plugin: &Plugin, stream: StreamId, decision: &Decision) {
    if hostcalls::set_effective_context(stream).is_err() {
        return;
    }
    match decision {
        Decision::Accept(_) => {
            plugin.metrics.count_accepted();
            let _ = hostcalls::resume_http_request();
        }
        Decision::Refuse(refusal) => plugin.refuse(refusal),
        Decision::Wait => {}
    }
}
