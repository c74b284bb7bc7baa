//! The name of a key, shared by the places that hold it.

use std::fmt;
use std::sync::Arc;

/// A service and a key id. Clones share the texts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    service: Arc<str>,
    kid: Arc<str>,
}

impl Name {
    pub(crate) fn new(service: &str, kid: &str) -> Self {
        Self {
            service: service.into(),
            kid: kid.into(),
        }
    }

    pub(crate) fn service(&self) -> &Arc<str> {
        &self.service
    }

    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }
}

impl fmt::Display for Name {
    /// As it may stand in a log line: control characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.kid, self.service)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
