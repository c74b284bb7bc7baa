//! The log lines about refused requests: no more of them than somebody can read, since whoever
//! floods a verifier would fill its log as well.

use super::head::HostHead;
use crate::credentials;
use crate::events::count_one;
use crate::gate::Refused;
use crate::request;
use jwt_core::rate_limit::RateLimit;
use jwt_core::time::Timestamp;
use jwt_core::token::Token;
use log::{info, log_enabled};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// Lines that a worker may write at once, and each second from then on.
const BURST: u32 = 20;
const PER_SECOND: u32 = 10;

/// The refusals of one verifier on one worker.
pub(super) struct RefusalLog {
    limit: RefCell<RateLimit>,
    left_out: Cell<u64>,
    owned_up: Cell<Option<Timestamp>>,
}

impl RefusalLog {
    pub(super) fn new() -> Self {
        Self {
            limit: RefCell::new(RateLimit::new(BURST, PER_SECOND)),
            left_out: Cell::new(0),
            owned_up: Cell::new(None),
        }
    }

    /// Says of whom and of what, so that an operator finds the cause; never the token itself.
    pub(super) fn write(&self, refused: &Refused, max_token_size: usize, now: Timestamp) {
        if !log_enabled!(log::Level::Info) {
            return;
        }
        if !self.limit.borrow_mut().take(now) {
            return count_one(&self.left_out);
        }
        let head = HostHead::default();
        let path = request::text(&head, ":path").unwrap_or_default();
        // The query may hold what is nobody's business.
        let path = path.split('?').next().unwrap_or_default();
        let refusal = &refused.refusal;
        let claimed = credentials::token(&head, true, max_token_size)
            .ok()
            .and_then(|token| Token::parse_up_to(max_token_size, &token).ok());
        match claimed {
            Some(token) => {
                info!(
                    "jwtproxy: refused {path:?}: {refusal} (key {})",
                    token.key_name()
                );
            }
            None => info!("jwtproxy: refused {path:?}: {refusal}"),
        }
    }

    /// Says how many refusals have no line since it was said last, once a second.
    pub(super) fn own_up(&self, now: Timestamp) {
        let too_soon = |last| now >= last && now < last + Duration::from_secs(1);
        if self.owned_up.get().is_some_and(too_soon) {
            return;
        }
        if self.left_out.get() > 0 {
            self.owned_up.set(Some(now));
        }
        match self.left_out.take() {
            0 => {}
            count => info!("jwtproxy: {count} more refusals, which only the metrics tell apart"),
        }
    }
}
