//! Which servers are reached: by the names that clients write, and once more by the addresses
//! that are connected to.

use super::resolver::{Resolver, is_local};
use super::whereabouts::Whereabouts;
use crate::policy::{
    Decision, Destination, Host, Permitted, Policy, Refusal, Rule, have_a_form_in_common,
    is_link_local,
};
use http::Uri;
use http::uri::{Authority, Scheme};
use jwt_core::authority::HostAndPort;
use std::io;
use std::net::SocketAddr;

/// Why a server is not reached.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy) enum Barrier {
    #[error("the address is the one of this proxy")]
    Loop,
    #[error("a rule denies it")]
    Denied,
    #[error("it is the key registry {0}")]
    Registry(String),
    #[error("it has the address of the key registry {0}")]
    RegistryAddress(String),
    #[error("it is the admin address of this process")]
    Admin,
    #[error("it has a link-local or cloud metadata address")]
    LinkLocal,
    #[error("the name cannot be looked up: {0}")]
    LookUp(#[from] io::Error),
    #[error("the name has no address")]
    NoAddress,
    #[error("the URL has no host and port")]
    Authority,
}

impl From<Refusal> for Barrier {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied => Self::Denied,
            Refusal::Registry(registry) => Self::Registry(registry),
        }
    }
}

/// The addresses on which this process itself listens.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct OwnAddresses {
    /// Where clients of the proxy come in; `None` for a unix socket, which no request leads to.
    pub(in crate::proxy) proxy: Option<SocketAddr>,
    /// Where operators do.
    pub(in crate::proxy) admin: Option<SocketAddr>,
}

/// The rules on what is reached.
#[derive(Debug)]
pub(in crate::proxy) struct Reach {
    policy: Policy,
    own: OwnAddresses,
    registries: Vec<Whereabouts>,
    resolver: Resolver,
    /// Whether a parent proxy looks names up, so that their addresses are not known here.
    by_parent: bool,
}

/// What becomes of a request, and which connections it may use.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Decided<'a> {
    pub(in crate::proxy) permitted: Permitted<'a>,
    pub(in crate::proxy) route: Route,
}

/// Connections are shared by the requests of one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Route {
    /// The rule that the name alone leads to decides.
    ByName,
    /// This rule decides, by the address.
    ByAddress(usize),
}

impl Reach {
    pub(in crate::proxy) fn new(policy: Policy, own: OwnAddresses, by_parent: bool) -> Self {
        let registries = policy.registries().iter().cloned();
        Self {
            registries: registries.map(Whereabouts::new).collect(),
            policy,
            own,
            resolver: Resolver::default(),
            by_parent,
        }
    }

    /// The rules that can decide for a name by the address it leads to.
    pub(super) fn rules_by_address(&self) -> impl Iterator<Item = usize> {
        let rules = self.policy.rules().iter().enumerate();
        let by_address = rules.filter(|(_, rule)| rule.admits_addresses() && !self.by_parent);
        by_address.map(|(index, _)| index)
    }

    /// Whether a token for that audience would be one for a key registry.
    pub(in crate::proxy) fn check_audience(&self, audience: &str) -> Result<(), Barrier> {
        match self.policy.registries().of_audience(audience) {
            Some(registry) => Err(Barrier::Registry(registry.as_str().to_owned())),
            None => Ok(()),
        }
    }

    /// What becomes of a request to this server.
    pub(in crate::proxy) async fn decide(
        &self,
        authority: &Authority,
        host: &Host,
        port: u16,
    ) -> Result<Decided<'_>, Barrier> {
        if host.address().is_none() && !self.by_parent && self.policy.depends_on_address(host, port)
        {
            return self.decide_by_addresses(authority, host, port).await;
        }
        let decision = self.policy.decide(host, port)?;
        if self.by_parent {
            // No connection is made here whose address could be checked.
            self.check_literal(host, port).await?;
        }
        Ok(Decided {
            permitted: decision.permitted,
            route: Route::ByName,
        })
    }

    /// What becomes of a CONNECT: what is sure to be refused later is refused now.
    pub(in crate::proxy) async fn decide_tunnel(
        &self,
        authority: &Authority,
        host: &Host,
        port: u16,
    ) -> Result<Decided<'_>, Barrier> {
        let decided = self.decide(authority, host, port).await?;
        self.check_literal(host, port).await?;
        Ok(decided)
    }

    async fn check_literal(&self, host: &Host, port: u16) -> Result<(), Barrier> {
        match host.address() {
            Some(address) => self
                .check(host, SocketAddr::new(address, port))
                .await
                .map(drop),
            None => Ok(()),
        }
    }

    /// The first address that may be reached decides.
    async fn decide_by_addresses(
        &self,
        authority: &Authority,
        host: &Host,
        port: u16,
    ) -> Result<Decided<'_>, Barrier> {
        let by_name = self.policy.decide(host, port);
        let by_name = by_name.map(|decision| decision.rule);
        let found = self.resolver.look_up_recent(authority.host(), port).await;
        // What is refused by its name is refused wherever it leads to.
        let found = match (found, &by_name) {
            (Err(_), Err(refusal)) => return Err(refusal.clone().into()),
            (found, _) => found?,
        };
        let mut barrier = Barrier::NoAddress;
        for address in found {
            match self.check(host, address).await {
                Ok(decision) => {
                    let route = match decision.rule {
                        Some(rule) if by_name != Ok(Some(rule)) => Route::ByAddress(rule),
                        _ => Route::ByName,
                    };
                    let permitted = decision.permitted;
                    return Ok(Decided { permitted, route });
                }
                Err(refused) => barrier = refused,
            }
        }
        Err(barrier)
    }

    /// The addresses of the host of a URL that may be connected to on this route.
    pub(super) async fn addresses(
        &self,
        uri: &Uri,
        route: Route,
    ) -> Result<Vec<SocketAddr>, Barrier> {
        let authority = uri.authority().ok_or(Barrier::Authority)?;
        let host = Host::parse(authority.host()).ok_or(Barrier::Authority)?;
        let port = port_of(uri).ok_or(Barrier::Authority)?;
        let rule = match route {
            Route::ByName => self.policy.decide(&host, port)?.rule,
            Route::ByAddress(rule) => Some(rule),
        };
        let mut permitted = Vec::new();
        let mut barrier = Barrier::NoAddress;
        for address in self.resolver.look_up(authority.host(), port).await? {
            match self.check(&host, address).await {
                Ok(decision) if decision.rule == rule => permitted.push(address),
                // The name leads elsewhere since the request was decided on.
                Ok(_) => barrier = Barrier::Denied,
                Err(refused) => barrier = refused,
            }
        }
        match permitted.is_empty() {
            true => Err(barrier),
            false => Ok(permitted),
        }
    }

    async fn check(&self, host: &Host, address: SocketAddr) -> Result<Decision<'_>, Barrier> {
        let port = address.port();
        let destination = Destination {
            address: address.ip().to_canonical(),
            is_local: is_local(address),
        };
        let decision = self.policy.decide_at(host, port, destination)?;
        let rule = self.policy.rule_of(&decision);
        self.guard(host, port, destination, rule)?;
        let is_beside = rule.is_some_and(|rule| rule.beside_registry);
        if matches!(decision.permitted, Permitted::Sign(_)) && !is_beside {
            for registry in &self.registries {
                if registry.is_at(destination, port, &self.resolver).await {
                    return Err(Barrier::RegistryAddress(registry.origin().to_owned()));
                }
            }
        }
        Ok(decision)
    }

    /// What no rule but one that names it in particular leads to.
    fn guard(
        &self,
        host: &Host,
        port: u16,
        destination: Destination,
        rule: Option<&Rule>,
    ) -> Result<(), Barrier> {
        let address = destination.address;
        if is_link_local(address) && !rule.is_some_and(|rule| rule.names_link_local(address)) {
            return Err(Barrier::LinkLocal);
        }
        if rule.is_some_and(|rule| rule.names(host, port, address)) {
            return Ok(());
        }
        let is_own = |own: Option<SocketAddr>| {
            own.is_some_and(|own| own.port() == port && leads_to(own, destination))
        };
        if is_own(self.own.proxy) {
            return Err(Barrier::Loop);
        }
        match is_own(self.own.admin) {
            true => Err(Barrier::Admin),
            false => Ok(()),
        }
    }
}

/// Whether a connection arrives at a listener on the address `own`. One on all addresses is reached
/// at any of the machine's.
fn leads_to(own: SocketAddr, destination: Destination) -> bool {
    let own = own.ip().to_canonical();
    match own.is_unspecified() {
        true => destination.is_local,
        false => have_a_form_in_common(own, destination.address),
    }
}

fn port_of(uri: &Uri) -> Option<u16> {
    let default = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => 443,
        _ => 80,
    };
    let port = HostAndPort::parse(uri.authority()?.as_str())?
        .port()
        .unwrap_or(default);
    (port > 0).then_some(port)
}

#[cfg(test)]
#[path = "reach_tests.rs"]
mod tests;
