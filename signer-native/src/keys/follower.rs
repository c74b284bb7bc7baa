//! A process that uses the key which another one looks after.

use super::generated::GeneratedKey;
use super::status::{Phase, StatusSender};
use super::store::{KeyFolder, KeyStore};
use crate::signing::RequestSigner;
use std::time::Duration;
use tokio::time::sleep;
use tracing::{error, info};

/// How soon a new key is noticed. Looking at a file costs next to nothing.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Uses the active key, whichever it is, until the other process has gone and the keys are ours.
/// Also gives the id of the key that is in use then.
pub(super) async fn follow(
    folder: &KeyFolder,
    signer: &RequestSigner,
    status: &StatusSender,
) -> (KeyStore, Option<String>) {
    let (mut seen, mut in_use) = (None, None);
    loop {
        match folder.try_lock() {
            Ok(Some(store)) => return (store, in_use),
            Ok(None) => {}
            Err(problem) => status.change(|status| status.problem = Some(problem.to_string())),
        }
        let version = folder.active_version();
        if version.is_some() && version != seen {
            match folder.read_active() {
                Ok(Some(key)) => in_use = take(&key, signer, status).or(in_use),
                Ok(None) => {}
                Err(problem) => error!("{problem}"),
            }
            seen = version;
        }
        sleep(LOOK_EVERY).await;
    }
}

fn take(key: &GeneratedKey, signer: &RequestSigner, status: &StatusSender) -> Option<String> {
    match key.signing_key() {
        Ok(signing_key) => signer.use_key(signing_key, key.id()),
        Err(problem) => {
            error!("the key {} cannot be used: {problem}", key.id());
            return None;
        }
    }
    info!("signing with the key {}, kept by another process", key.id());
    status.change(|status| {
        status.phase = Phase::Active;
        status.active = Some(key.id().to_owned());
        status.published_at = None;
        status.problem = None;
        status.activations += 1;
    });
    Some(key.id().to_owned())
}
