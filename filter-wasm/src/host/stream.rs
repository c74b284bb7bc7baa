//! The context of one request.

use super::root::Plugin;
use crate::gate::Decision;
use jwt_core::refusal::Refusal;
use log::debug;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};
use std::rc::Rc;

pub(super) struct Stream {
    id: u32,
    /// `None` where the configuration has failed: such a request is refused.
    plugin: Option<Rc<Plugin>>,
}

impl Stream {
    pub(super) fn new(id: u32, plugin: Option<Rc<Plugin>>) -> Self {
        Self { id, plugin }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(plugin) = &self.plugin else {
            let _ = hostcalls::send_http_response(503, vec![], None);
            return Action::Pause;
        };
        let authorization =
            hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, "authorization")
                .ok()
                .flatten();
        let decision =
            plugin
                .gate
                .borrow_mut()
                .on_request(self.id, authorization.as_deref(), super::now());
        match decision {
            Decision::Accept(_) => {
                plugin.metrics.count_accepted();
                Action::Continue
            }
            Decision::Refuse(refusal) => {
                log_refusal(&refusal);
                plugin.refuse(&refusal);
                Action::Pause
            }
            Decision::Wait => {
                Plugin::fetch_soon();
                Action::Pause
            }
        }
    }

    fn on_log(&mut self) {
        if let Some(plugin) = &self.plugin {
            plugin.gate.borrow_mut().on_stream_end(self.id);
        }
    }
}

fn log_refusal(refusal: &Refusal) {
    debug!("jwtproxy: refused: {refusal}");
}
