//! What those who manage a registry do to its keys: approve, import and purge.

use super::{Denied, Publication};
use crate::store::{Change, Key, KeyState, Name, NamedKey, Registry};
use jwt_core::key::KeyName;
use jwt_core::time::Timestamp;

/// Approves the key of this name and this RFC 7638 thumbprint.
///
/// The name alone says nothing: anyone can publish a key under it. An approval that is sent again
/// changes nothing.
pub fn approve(
    registry: &Registry,
    name: &KeyName,
    thumbprint: &str,
    now: Timestamp,
) -> Result<(), Denied> {
    registry.update(|state, _| {
        let name = Name::new(name.issuer(), name.key_id());
        let conflict = |problem: String| Err(Denied::Conflict(problem));
        let Some(key) = state.get(&name) else {
            let is_revoked = state.tombstones().has_name(&name);
            return if is_revoked {
                conflict(REVOKED.into())
            } else {
                Err(Denied::Unknown)
            };
        };
        let found = key.jwk.thumbprint();
        if found != thumbprint {
            return conflict(format!(
                "the key of this id has the thumbprint {found}, which is not the one to approve"
            ));
        }
        match key.state {
            _ if key.is_over(now) => conflict("the key has expired".into()),
            KeyState::Approved => Ok((Vec::new(), ())),
            KeyState::Retired => conflict("the key was replaced".into()),
            // It may have been revoked under another name, after it was published under this one.
            KeyState::Pending if state.tombstones().has_key(thumbprint) => conflict(REVOKED.into()),
            KeyState::Pending => {
                let state = KeyState::Approved;
                let key = Key {
                    state,
                    ..key.clone()
                };
                Ok((vec![Change::Put(name, key)], ()))
            }
        }
    })
}

const REVOKED: &str = "the key was revoked or replaced";

/// Takes a key that the operator vouches for as approved, without a proof of possession. One that
/// was revoked or replaced comes back only if `restore` says so.
pub fn import(registry: &Registry, publication: &Publication, restore: bool) -> Result<(), Denied> {
    registry.update(|state, _| {
        let name = publication.stored_name();
        let thumbprint = publication.thumbprint();
        let is_taken =
            |key: &&Key| key.state != KeyState::Pending && key.jwk.thumbprint() != thumbprint;
        if state.get(&name).filter(is_taken).is_some() {
            let problem = "another key of the service has this id";
            return Err(Denied::Forbidden(problem.into()));
        }
        let mut changes = state.lift(&name, &thumbprint);
        if !restore && !changes.is_empty() {
            let problem = "this id, or this key, was revoked or replaced; to use it all the same, \
                           import it with --restore (restore=true)";
            return Err(Denied::Conflict(problem.into()));
        }
        let key = publication.key(KeyState::Approved, None);
        changes.push(Change::Put(name, key));
        Ok((changes, ()))
    })
}

/// Which of the keys that await approval to remove: those that meet each condition given.
#[derive(Clone, Debug, Default)]
pub struct PurgeFilter {
    /// That were not approved in their time.
    pub expired: bool,
    /// From this source or network.
    pub source: Option<String>,
    /// Of this service.
    pub service: Option<String>,
}

impl PurgeFilter {
    fn is_empty(&self) -> bool {
        !self.expired && self.source.is_none() && self.service.is_none()
    }

    fn takes(&self, service: &str, key: &Key, now: Timestamp) -> bool {
        let lies_in = |network: &String| {
            let origin = key.origin.as_ref();
            origin.is_some_and(|origin| origin.source.lies_in(network))
        };
        (!self.expired || key.is_over(now))
            && self.source.as_ref().is_none_or(lies_in)
            && self.service.as_ref().is_none_or(|wanted| wanted == service)
    }
}

/// Removes keys that await approval, and says which; with `dry_run` it only says which. They may
/// be published again.
pub fn purge(
    registry: &Registry,
    filter: &PurgeFilter,
    dry_run: bool,
    now: Timestamp,
) -> Result<Vec<NamedKey>, Denied> {
    if filter.is_empty() {
        let problem = "expected at least one of expired=true, source and service";
        return Err(Denied::Malformed(problem.into()));
    }
    Ok(registry.purge(|service, key| filter.takes(service, key, now), dry_run)?)
}
