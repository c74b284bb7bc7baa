//! What of a request is written to the log.

use http::Uri;
use std::fmt;

/// A request target without user information and query, either of which may be secret.
#[derive(Clone, Debug)]
pub(super) struct Loggable(Uri);

impl Loggable {
    pub(super) fn new(uri: &Uri) -> Self {
        Self(uri.clone())
    }
}

impl fmt::Display for Loggable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.0.scheme_str() {
            write!(formatter, "{scheme}://")?;
        }
        if let Some(authority) = self.0.authority() {
            let after_userinfo = authority.as_str().rsplit('@').next();
            formatter.write_str(after_userinfo.unwrap_or_default())?;
        }
        formatter.write_str(self.0.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_shows_neither_user_information_nor_query() {
        let shown = |uri: &str| Loggable::new(&uri.parse().unwrap()).to_string();
        assert_eq!(
            shown("http://user:pass@a.test:81/path?access_token=x"),
            "http://a.test:81/path"
        );
        assert_eq!(shown("user:pass@a.test:443"), "a.test:443");
        assert_eq!(shown("/path?access_token=x"), "/path");
    }
}
