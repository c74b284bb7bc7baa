//! The root context: one for each configuration on each worker. It makes the requests to key
//! servers and raises the metrics.

use super::head::HostHead;
use super::plugin::Plugin;
use super::stream::Stream;
use crate::configuration;
use crate::keys::{Fetch, FetchId};
use jwt_core::config::filter::Endpoint;
use jwt_core::key::KeyName;
use jwt_core::refusal::KeyProblem;
use jwt_core::registry::{Fetched, Response};
use jwt_core::time::Timestamp;
use log::{error, info, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel, MapType};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// The largest answer of a key server that is read, in bytes: far above any set of public keys.
const MAX_ANSWER: usize = 1024 * 1024;

/// How often metrics are raised while there is nothing else to do.
const IDLE_PERIOD: Duration = Duration::from_secs(1);

/// How often to look whether another worker has an answer.
const POLL_PERIOD: Duration = Duration::from_millis(5);

/// How many of the requests that have waited are decided in one tick, and how soon the next ones
/// are. The host carries replies out when our call ends, each of them inside the one before, so
/// that some 300 at once overflow its stack; how many exactly depends on its other filters.
const BATCH: usize = 32;
const BATCH_PERIOD: Duration = Duration::from_millis(1);

#[derive(Default)]
pub(super) struct Root {
    id: u32,
    plugin: Option<Rc<Plugin>>,
    in_flight: HashMap<u32, (FetchId, Timestamp)>,
}

impl Root {
    pub(super) fn new(id: u32) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        // The host's own level, so that what would not be written is not formatted either.
        proxy_wasm::set_log_level(hostcalls::get_log_level().unwrap_or(LogLevel::Info));
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        match configuration::read(&bytes) {
            Ok(config) => {
                self.plugin = Some(Rc::new(Plugin::new(config)));
                self.set_tick_period(IDLE_PERIOD);
                true
            }
            Err(mistakes) => {
                error!("jwtproxy: the configuration of the filter is refused:\n{mistakes}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let Some(plugin) = self.plugin.clone() else {
            return;
        };
        let now = super::now();
        plugin.ticked(now);
        let fetches = plugin.gate.borrow_mut().begin_fetches(now);
        for Fetch { id, endpoint } in fetches {
            match self.send(&endpoint) {
                Ok(token) => drop(self.in_flight.insert(token, (id, now))),
                Err(problem) => self.conclude(&plugin, &id, Err(problem)),
            }
        }
        plugin.gate.borrow_mut().collect_from_others(now);
        self.decide_batch(&plugin, now);
        plugin.flush_events(now);
        let gate = plugin.gate.borrow();
        self.set_tick_period(match (gate.has_ready(), gate.has_work()) {
            (true, _) => BATCH_PERIOD,
            (false, true) => POLL_PERIOD,
            (false, false) => IDLE_PERIOD,
        });
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
        let Some((id, begun)) = self.in_flight.remove(&token) else {
            return;
        };
        let Some(plugin) = self.plugin.clone() else {
            return;
        };
        plugin
            .metrics
            .record_fetch_duration(super::now().since(begun));
        // A call that was reset has no headers, and asking for one would trap.
        if headers == 0 {
            let problem = "the connection to the key server was lost".to_owned();
            return self.conclude(&plugin, &id, Err(problem));
        }
        if body_size > MAX_ANSWER {
            let problem = format!("the key server answered with {body_size} bytes");
            return self.conclude(&plugin, &id, Err(problem));
        }
        let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, body_size);
        let body = body.ok().flatten().unwrap_or_default();
        let cache_control = cache_control();
        let status = response_header(":status");
        let status = status.and_then(|status| str::from_utf8(&status).ok()?.parse().ok());
        let response = Response {
            status: status.unwrap_or(0),
            cache_control: cache_control.as_deref(),
            body: &body,
        };
        self.conclude(&plugin, &id, Ok(response));
    }
}

impl Root {
    fn send(&self, endpoint: &Endpoint) -> Result<u32, String> {
        let headers = vec![
            (":method", "GET"),
            (":path", &endpoint.path),
            (":authority", &endpoint.authority),
            ("accept", "application/json"),
        ];
        self.dispatch_http_call(&endpoint.cluster, headers, None, vec![], endpoint.timeout)
            .map_err(|status| format!("cluster {:?}: {status:?}", endpoint.cluster))
    }

    /// Records the answer to a fetch. The requests that waited for it are decided at the next tick:
    /// an answer may come while the host is still busy with replies of ours.
    fn conclude(&self, plugin: &Plugin, id: &FetchId, response: Result<Response<'_>, String>) {
        let now = super::now();
        let answers = plugin.gate.borrow_mut().on_response(id, response, now);
        plugin.metrics.count_fetch(&answers);
        for (name, fetched) in &answers {
            log_fetched(name, fetched);
        }
        plugin.see_to_work();
    }

    /// Decides about some of the requests that have waited.
    fn decide_batch(&self, plugin: &Plugin, now: Timestamp) {
        let head = HostHead::default();
        for _ in 0..BATCH {
            let Some(ready) = plugin.gate.borrow_mut().next_ready() else {
                break;
            };
            // Nothing is claimed for a request that the host has given up.
            if hostcalls::set_effective_context(ready.stream()).is_err() {
                continue;
            }
            let decision = plugin.gate.borrow_mut().resume(ready, &head, now);
            if plugin.carry_out(&decision, now) == Action::Continue {
                let _ = hostcalls::resume_http_request();
            }
        }
        let _ = hostcalls::set_effective_context(self.id);
    }
}

fn response_header(name: &str) -> Option<Vec<u8>> {
    hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, name)
        .ok()
        .flatten()
}

/// All its lines: the host's getter of one field gives the first.
fn cache_control() -> Option<Vec<u8>> {
    let fields = hostcalls::get_map_bytes(MapType::HttpCallResponseHeaders).ok()?;
    let lines = fields
        .into_iter()
        .filter(|(name, _)| name == "cache-control");
    let values: Vec<_> = lines.map(|(_, value)| value).collect();
    (!values.is_empty()).then(|| values.join(b",".as_slice()))
}

fn log_fetched(name: &KeyName, fetched: &Fetched) {
    let detail = fetched.detail.as_deref().unwrap_or_default();
    match &fetched.answer {
        Err(problem @ (KeyProblem::Unavailable | KeyProblem::Unusable)) => {
            warn!("jwtproxy: key {name}: {problem}: {detail}");
        }
        Err(problem) => info!("jwtproxy: key {name}: {problem}"),
        Ok(_) if fetched.detail.is_some() => {
            warn!("jwtproxy: key {name}: still used, although it could not be fetched: {detail}");
        }
        Ok(_) => info!("jwtproxy: key {name}: good for {:?}", fetched.lifetime),
    }
}
