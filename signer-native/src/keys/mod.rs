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
pub use store::StoreError;

use crate::signing::{RequestSigner, TokenClaims};
use keeper::Keeper;
use rustls::ClientConfig;
use status::StatusSender;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{KeyFolder, KeyStore};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, info};

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
    pub fn start(settings: Settings, signer: Arc<RequestSigner>) -> Result<Self, StoreError> {
        let folder = KeyFolder::open(&settings.folder, &settings.claims.issuer)?;
        let store = folder.try_lock()?;
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
    store: Option<KeyStore>,
    signer: Arc<RequestSigner>,
    status: StatusSender,
    mut stopped: oneshot::Receiver<()>,
) {
    let (store, in_use) = match store {
        Some(store) => (store, None),
        None => {
            info!("another process looks after the signing key: using the one it keeps");
            let following = follower::follow(&folder, &signer, &status);
            tokio::select! {
                _ = &mut stopped => return,
                took_over = following => took_over,
            }
        }
    };
    match Keeper::new(&settings, store, in_use, signer, status).await {
        Ok(keeper) => keeper.run(stopped).await,
        Err(error) => error!("the signing key cannot be read: {error}"),
    }
}
