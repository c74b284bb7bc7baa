//! Where a key server has a key, and what its answer says.

use jwt_core::config::filter::{Endpoint, Jwks, Keyregistry};
use jwt_core::key::KeyName;
use jwt_core::registry::{self, Fetched, Response};
use std::collections::HashSet;
use std::time::Duration;

/// A key server.
#[derive(Clone, Debug)]
pub enum Source {
    /// Each key has an address of its own.
    Registry(Keyregistry),
    /// All keys of an issuer come together.
    Sets(Jwks),
}

/// What one request to a key server is about. Requests about the same are made once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FetchId {
    /// One key.
    Key(KeyName),
    /// All keys of this issuer.
    Set(String),
}

/// A request to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// What it is about.
    pub id: FetchId,
    /// Where to.
    pub endpoint: Endpoint,
}

impl Source {
    /// The request that would bring a key; `None` when no request can.
    pub(super) fn fetch_of(&self, name: &KeyName) -> Option<Fetch> {
        match self {
            Self::Registry(Keyregistry { endpoint, .. }) => {
                let path = registry::key_path(&endpoint.path, name)?;
                let endpoint = Endpoint {
                    path,
                    ..endpoint.clone()
                };
                Some(Fetch {
                    id: FetchId::Key(name.clone()),
                    endpoint,
                })
            }
            Self::Sets(Jwks { issuers, .. }) => {
                let (issuer, endpoint) =
                    issuers.iter().find(|(issuer, _)| issuer == name.issuer())?;
                Some(Fetch {
                    id: FetchId::Set(issuer.clone()),
                    endpoint: endpoint.clone(),
                })
            }
        }
    }

    /// What an answer says of keys: of those it brings, and of each one in `wanted`. A set that
    /// lacks a key says so of each one in `had` too.
    pub(super) fn read(
        &self,
        id: &FetchId,
        response: Result<Response<'_>, String>,
        wanted: &[KeyName],
        had: &[KeyName],
    ) -> Vec<(KeyName, Fetched)> {
        let duration = self.cache_duration();
        let all = |fetched: Fetched| {
            wanted
                .iter()
                .map(|name| (name.clone(), fetched.clone()))
                .collect::<Vec<_>>()
        };
        match (id, response) {
            (_, Err(detail)) => all(registry::unavailable(detail)),
            (FetchId::Key(name), Ok(response)) => {
                vec![(name.clone(), registry::interpret(name, response, duration))]
            }
            (FetchId::Set(issuer), Ok(response)) => {
                match registry::interpret_set(response, duration) {
                    Ok(keys) => with_the_missing(issuer, keys, wanted.iter().chain(had)),
                    Err(failed) => all(failed),
                }
            }
        }
    }

    /// How much longer than its time a key may serve while the key server is down.
    pub(super) fn stale_if_error(&self) -> Duration {
        match self {
            Self::Registry(registry) => registry.cache.stale_if_error,
            Self::Sets(sets) => sets.cache.stale_if_error,
        }
    }

    /// A name for the key server and for how long its keys are used, the same on every worker.
    /// Answers are kept apart by it: with another `cache.duration` they have another time.
    pub(super) fn identity(&self) -> String {
        let of = |e: &Endpoint| format!("{} {} {}", e.cluster, e.authority, e.path);
        let key_server = match self {
            Self::Registry(registry) => of(&registry.endpoint),
            Self::Sets(sets) => {
                let sets = sets
                    .issuers
                    .iter()
                    .map(|(issuer, e)| format!("{issuer} {}", of(e)));
                sets.collect::<Vec<_>>().join(" ")
            }
        };
        format!("{} ms {key_server}", self.cache_duration().as_millis())
    }

    fn cache_duration(&self) -> Duration {
        match self {
            Self::Registry(registry) => registry.cache.duration,
            Self::Sets(sets) => sets.cache.duration,
        }
    }
}

fn with_the_missing<'a>(
    issuer: &str,
    keys: Vec<(String, Fetched)>,
    names: impl Iterator<Item = &'a KeyName>,
) -> Vec<(KeyName, Fetched)> {
    let named = |(key_id, fetched)| Some((KeyName::new(issuer.to_owned(), key_id).ok()?, fetched));
    let mut answers: Vec<_> = keys.into_iter().filter_map(named).collect();
    let mut answered: HashSet<_> = answers.iter().map(|(name, _)| name.clone()).collect();
    for name in names {
        if answered.insert(name.clone()) {
            answers.push((name.clone(), registry::not_in_set()));
        }
    }
    answers
}
