//! Signing keys that look after themselves: made here, kept on the disk, published to a key
//! registry, and replaced before they are old.
//!
//! When to do what is decided by [`jwt_core::key_lifecycle`]; this is the hands: [`store`] for the
//! disk, [`registry`] for the network, [`keeper`] for the order of things.

mod follower;
mod generated;
mod keeper;
mod registry;
mod skew;
mod status;
mod store;

pub use registry::{RegistryUrl, RegistryUrlError};
pub use status::{KeyStatus, Phase};

use crate::signing::{RequestSigner, TokenClaims};
use keeper::Keeper;
use rustls::ClientConfig;
use status::StatusSender;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{KeyFolder, KeyStore, StoredKeys};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, info};
use transport::files::FileError;

/// What a service wants of its keys.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where keys are kept.
    pub folder: PathBuf,
    /// How old a key becomes; `None` is any age.
    pub rotate_every: Option<Duration>,
    /// Where they are published.
    pub registry: RegistryUrl,
    /// What the tokens on requests say, to the registry too.
    pub claims: TokenClaims,
    /// Whom to believe to be the registry, over HTTPS.
    pub tls: ClientConfig,
}

/// The task that looks after the keys of one service. Dropped, it ends as after
/// [`KeyKeeper::finish`], but nobody waits for that.
#[derive(Debug)]
pub struct KeyKeeper {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    status: watch::Receiver<KeyStatus>,
}

impl KeyKeeper {
    /// Starts to look after the keys, and gives the current one to `signer`.
    ///
    /// It fails only where the folder cannot be used. What the registry does is never a reason.
    pub fn start(settings: Settings, signer: Arc<RequestSigner>) -> Result<Self, FileError> {
        let folder = KeyFolder::open(&settings.folder, &settings.claims.issuer)?;
        let store = folder.try_lock()?;
        // A file that is not to be trusted ends the start: without it there would be a new key.
        let store = match store {
            Some(store) => {
                let stored = store.load()?;
                Some((store, stored))
            }
            None => None,
        };
        let (sender, status) = StatusSender::new();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(look_after(settings, folder, store, signer, sender, stopped));
        Ok(Self { stop, task, status })
    }

    /// How the keys are, now and whenever that changes.
    pub fn status(&self) -> watch::Receiver<KeyStatus> {
        self.status.clone()
    }

    /// Ends the task. A key that nobody approved is revoked, if the registry answers in time.
    pub async fn finish(self) {
        // The task may have ended already.
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            error!("the keeper of the signing key has failed: {error}");
        }
    }
}

async fn look_after(
    settings: Settings,
    folder: KeyFolder,
    store: Option<(KeyStore, StoredKeys)>,
    signer: Arc<RequestSigner>,
    status: StatusSender,
    mut stopped: oneshot::Receiver<()>,
) {
    let (store, in_use) = match store {
        Some(store) => (store, None),
        None => {
            info!("another process looks after the signing key: using the one it keeps");
            let following = follower::follow(&folder, &signer, &status);
            let (store, in_use) = tokio::select! {
                _ = &mut stopped => return,
                took_over = following => took_over,
            };
            match store.load() {
                Ok(stored) => ((store, stored), in_use),
                Err(error) => {
                    error!("the signing key cannot be read, so it is not rotated: {error}");
                    status.change(|status| status.problem = Some(error.to_string()));
                    return;
                }
            }
        }
    };
    let keeper = Keeper::new(&settings, store, in_use, signer, status);
    keeper.run(stopped).await;
}
