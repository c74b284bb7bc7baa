//! The signing policy: what becomes of requests, by the host, port and address they are for.

mod address;
mod host;
mod range;
mod registries;

pub use address::is_link_local;
pub use host::{Host, HostPattern, have_a_form_in_common};
pub use registries::{Registries, RegistryOrigin};

use http::HeaderName;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// Rules in order; the first that matches decides. Where none does, requests are signed, unless
/// they are for a key registry.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    otherwise: Action,
    registries: Registries,
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
    /// Whether these hosts are other servers than a key registry that has the same address.
    pub beside_registry: bool,
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

/// What becomes of a request that is not refused.
#[derive(Clone, Copy, Debug)]
pub enum Permitted<'a> {
    /// It gets a token.
    Sign(&'a Extras),
    /// See [`Action::Tunnel`].
    Tunnel,
    /// See [`Action::Pass`].
    Pass,
}

/// Why the policy refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A rule says so.
    Denied,
    /// It would be signed, and it is for this key registry.
    Registry(String),
}

/// The rule that decides, or none.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// What becomes of the request.
    pub permitted: Permitted<'a>,
    /// The place of the rule in the list.
    pub rule: Option<usize>,
}

/// An address that a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The address.
    pub address: IpAddr,
    /// Whether it is one of this machine's.
    pub is_local: bool,
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
            ..Self::default()
        }
    }

    /// Its rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The key registries that nothing is signed for.
    pub fn registries(&self) -> &Registries {
        &self.registries
    }

    /// Makes a key registry known.
    pub fn add_registry(&mut self, registry: RegistryOrigin) {
        self.registries.add(registry);
    }

    /// What becomes of a request to a host and port as they are written. Where
    /// [`Policy::depends_on_address`], only its refusal is final.
    pub fn decide(&self, host: &Host, port: u16) -> Result<Decision<'_>, Refusal> {
        self.first(host, port, |rule| rule.matches(host, port, None))
    }

    /// What becomes of a request to a host and port that leads to that address.
    pub fn decide_at(
        &self,
        host: &Host,
        port: u16,
        destination: Destination,
    ) -> Result<Decision<'_>, Refusal> {
        self.first(host, port, |rule| {
            rule.matches(host, port, Some(destination))
        })
    }

    /// Whether what becomes of requests to a name that is not refused depends on its addresses.
    pub fn depends_on_address(&self, host: &Host, port: u16) -> bool {
        let earlier = self.rules.iter();
        let mut earlier = earlier.take_while(|rule| !rule.matches(host, port, None));
        host.address().is_none()
            && earlier.any(|rule| rule.is_about_port(port) && rule.admits_addresses())
    }

    fn first(
        &self,
        host: &Host,
        port: u16,
        matches: impl Fn(&Rule) -> bool,
    ) -> Result<Decision<'_>, Refusal> {
        let rule = self.rules.iter().position(matches);
        let action = rule.and_then(|index| self.rules.get(index));
        let permitted = match action.map_or(&self.otherwise, |rule| &rule.action) {
            Action::Deny => return Err(Refusal::Denied),
            Action::Tunnel => Permitted::Tunnel,
            Action::Pass => Permitted::Pass,
            Action::Sign(extras) => match self.registries.at(host, port) {
                Some(registry) => return Err(Refusal::Registry(registry.as_str().to_owned())),
                None => Permitted::Sign(extras),
            },
        };
        Ok(Decision { permitted, rule })
    }

    /// The rule of a decision.
    pub fn rule_of(&self, decision: &Decision<'_>) -> Option<&Rule> {
        self.rules.get(decision.rule?)
    }
}

impl Rule {
    fn is_about_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }

    /// A denial of loopback is meant for what listens on this machine, however it is written: it
    /// holds for all names and addresses that lead here.
    fn matches(&self, host: &Host, port: u16, destination: Option<Destination>) -> bool {
        if !self.is_about_port(port) {
            return false;
        }
        let leads_there = destination.is_some_and(|destination| {
            let addresses = self.host.addresses();
            addresses.is_some_and(|range| range.contains(destination.address))
        });
        let is_here = host.is_loopback() || destination.is_some_and(|it| it.is_local);
        let denies_here = matches!(self.action, Action::Deny) && self.host.has_loopback();
        self.host.matches(host) || leads_there || is_here && denies_here
    }

    /// Whether it is about addresses, and denies them not.
    pub(crate) fn admits_addresses(&self) -> bool {
        !matches!(self.action, Action::Deny) && self.host.addresses().is_some()
    }

    /// Whether it is about this host or address in particular, and this port.
    pub(crate) fn names(&self, host: &Host, port: u16, address: IpAddr) -> bool {
        let addresses = self.host.addresses();
        self.port == Some(port)
            && !self.host.is_any()
            && (host.is_loopback() && self.host.matches(host)
                || addresses.is_some_and(|range| range.contains(address)))
    }

    /// Whether it is about link-local addresses alone, that one among them.
    pub(crate) fn names_link_local(&self, address: IpAddr) -> bool {
        let addresses = self.host.addresses();
        addresses.is_some_and(|range| range.is_link_local() && range.contains(address))
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
            beside_registry: false,
        }
    }

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    fn at(address: &str, is_local: bool) -> Destination {
        Destination {
            address: address.parse().unwrap(),
            is_local,
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = Policy::new(vec![
            rule("db.internal.test", Some(5432), Action::Tunnel),
            rule("*.internal.test", None, Action::Pass),
            rule("*", Some(25), Action::Deny),
        ]);
        let decide = |name: &str, port| {
            let decision = policy.decide(&host(name), port);
            decision.map(|decision| decision.permitted)
        };
        assert!(matches!(
            decide("db.internal.test", 5432),
            Ok(Permitted::Tunnel)
        ));
        assert!(matches!(
            decide("db.internal.test", 443),
            Ok(Permitted::Pass)
        ));
        assert!(matches!(decide("mail.test", 25), Err(Refusal::Denied)));
        assert!(matches!(decide("mail.test", 443), Ok(Permitted::Sign(_))));
    }

    #[test]
    fn without_rules_everything_is_signed() {
        let policy = Policy::default();
        let decision = policy.decide(&host("a.test"), 80).unwrap();
        let Permitted::Sign(extras) = decision.permitted else {
            panic!("not signed")
        };
        assert_eq!((extras, decision.rule), (&Extras::default(), None));
    }

    #[test]
    fn a_rule_about_addresses_holds_for_names_that_lead_there() {
        let policy = Policy::new(vec![
            rule("known.test", None, Action::default()),
            rule("10.0.0.0/8", None, Action::Deny),
            rule("192.0.2.0/24", None, Action::Pass),
        ]);
        let decide = |name: &str, address| {
            let decision = policy.decide_at(&host(name), 80, at(address, false));
            decision.map(|decision| decision.rule)
        };
        assert_eq!(decide("a.test", "10.0.0.1"), Err(Refusal::Denied));
        assert_eq!(decide("a.test", "::ffff:10.0.0.1"), Err(Refusal::Denied));
        assert_eq!(decide("a.test", "64:ff9b::10.0.0.1"), Err(Refusal::Denied));
        assert_eq!(decide("a.test", "192.0.2.1"), Ok(Some(2)));
        assert_eq!(decide("a.test", "198.51.100.1"), Ok(None));
        assert_eq!(decide("known.test", "10.0.0.1"), Ok(Some(0)));
        assert!(policy.depends_on_address(&host("a.test"), 80));
        assert!(!policy.depends_on_address(&host("known.test"), 80));
        assert!(!policy.depends_on_address(&host("192.0.2.1"), 80));
    }

    #[test]
    fn a_denial_of_loopback_holds_for_all_that_leads_to_this_machine() {
        for denied in ["127.0.0.1", "::1", "localhost", "127.0.0.0/8", "0.0.0.0"] {
            let policy = Policy::new(vec![rule(denied, None, Action::Deny)]);
            for name in [
                "127.0.0.1",
                "127.1.2.3",
                "0.0.0.0",
                "[::ffff:0.0.0.0]",
                "[::]",
                "[::1]",
                "localhost",
                "LocalHost.",
                "a.localhost",
            ] {
                let decided = policy.decide(&host(name), 80);
                assert_eq!(decided.err(), Some(Refusal::Denied), "{denied} {name}");
            }
            let decided = policy.decide_at(&host("own.test"), 80, at("10.0.0.7", true));
            assert_eq!(decided.err(), Some(Refusal::Denied), "{denied}");
            let decided = policy.decide_at(&host("other.test"), 80, at("10.0.0.8", false));
            assert!(decided.is_ok(), "{denied}");
        }
        // What is permitted is no wider than it is written.
        let policy = Policy::new(vec![
            rule("127.0.0.1", None, Action::Pass),
            rule("*", None, Action::Deny),
        ]);
        assert!(policy.decide(&host("127.0.0.1"), 80).is_ok());
        assert!(policy.decide(&host("localhost"), 80).is_err());
        assert!(policy.decide(&host("127.0.0.2"), 80).is_err());
    }

    #[test]
    fn what_is_for_a_registry_is_not_signed_but_may_pass() {
        let registry = || RegistryOrigin::parse("http://127.0.0.1:8888/").unwrap();
        let extras = Extras {
            audience: Some("billing".into()),
            ..Extras::default()
        };
        for action in [Action::default(), Action::Sign(extras)] {
            let mut policy = Policy::new(vec![rule("localhost", Some(8888), action)]);
            policy.add_registry(registry());
            for name in ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", "127.3.3.3"] {
                let refusal = policy.decide(&host(name), 8888).unwrap_err();
                assert!(matches!(refusal, Refusal::Registry(_)), "{name}");
                assert!(policy.decide(&host(name), 8889).is_ok(), "{name}");
            }
        }
        let mut policy = Policy::new(vec![rule("localhost", Some(8888), Action::Pass)]);
        policy.add_registry(registry());
        let passed = policy.decide(&host("localhost"), 8888).unwrap();
        assert!(matches!(passed.permitted, Permitted::Pass));
        assert!(policy.decide(&host("127.0.0.1"), 8888).is_err());
    }
}
