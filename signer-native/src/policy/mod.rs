//! The signing policy: what becomes of requests, by the host and port they are for.

mod host;

pub use host::{Host, HostPattern};

use http::HeaderName;
use serde_json::{Map, Value};

/// Rules in order; the first that matches decides. Where none does, requests are signed.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    otherwise: Action,
}

/// One entry of `hosts`.
#[derive(Debug)]
pub struct Rule {
    /// The hosts it is about.
    pub host: HostPattern,
    /// The port it is about, if not all.
    pub port: Option<u16>,
    /// What becomes of requests to them.
    pub action: Action,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Action {
    /// It gets a token.
    Sign(Extras),
    /// The bytes of a CONNECT pass untouched: no interception, no token.
    Tunnel,
    /// It is forwarded without a token.
    Pass,
    /// It is refused.
    Deny,
}

/// What a token says beyond the usual claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The `aud` in place of the server's origin.
    pub audience: Option<String>,
    /// Claims that are always the same.
    pub claims: Map<String, Value>,
    /// Claims whose values are taken from a request header, which goes no further.
    pub claims_from_headers: Vec<(String, HeaderName)>,
}

impl Default for Action {
    fn default() -> Self {
        Self::Sign(Extras::default())
    }
}

impl Policy {
    /// A policy of these rules.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules,
            otherwise: Action::default(),
        }
    }

    /// What becomes of a request to that host and port.
    pub fn action(&self, host: &Host, port: u16) -> &Action {
        self.rules
            .iter()
            .find(|rule| rule.port.is_none_or(|own| own == port) && rule.host.matches(host))
            .map_or(&self.otherwise, |rule| &rule.action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &str, port: Option<u16>, action: Action) -> Rule {
        Rule {
            host: HostPattern::parse(host).unwrap(),
            port,
            action,
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = Policy::new(vec![
            rule("db.internal.test", Some(5432), Action::Tunnel),
            rule("*.internal.test", None, Action::Pass),
            rule("*", Some(25), Action::Deny),
        ]);
        let action = |host: &str, port| policy.action(&Host::parse(host).unwrap(), port);
        assert!(matches!(action("db.internal.test", 5432), Action::Tunnel));
        assert!(matches!(action("db.internal.test", 443), Action::Pass));
        assert!(matches!(action("mail.test", 25), Action::Deny));
        assert!(matches!(action("mail.test", 443), Action::Sign(_)));
    }

    #[test]
    fn without_rules_everything_is_signed() {
        let host = Host::parse("a.test").unwrap();
        let policy = Policy::default();
        let Action::Sign(extras) = policy.action(&host, 80) else {
            panic!("not signed")
        };
        assert_eq!(*extras, Extras::default());
    }
}
