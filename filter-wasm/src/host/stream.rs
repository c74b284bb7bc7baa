//! The context of one request.

use super::head::HostHead;
use super::plugin::Plugin;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
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
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let Some(plugin) = &self.plugin else {
            let _ = hostcalls::send_http_response(503, vec![], None);
            return Action::Pause;
        };
        let now = super::now();
        let head = HostHead::arriving(!end_of_stream);
        let decision = plugin.gate.borrow_mut().on_request(self.id, &head, now);
        plugin.see_to_work();
        plugin.carry_out(&decision, now)
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        if let Some(plugin) = &self.plugin {
            plugin.clean_trailers();
        }
        Action::Continue
    }
}

/// The host deletes the context of a stream that has ended. No call of ours runs meanwhile, so the
/// gate is free; the SDK's own list of streams is not.
impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(plugin) = &self.plugin {
            plugin.gate.borrow_mut().on_stream_end(self.id);
        }
    }
}
