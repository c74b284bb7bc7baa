//! Does what [`jwt_core::key_lifecycle`] says, one step after the other.

use super::Settings;
use super::generated::{GeneratedKey, GeneratedKeyError};
use super::registry::{Outcome, RegistryClient};
use super::status::{Phase, StatusSender};
use super::store::{KeyStore, StoredKeys};
use crate::clock::now;
use crate::signing::RequestSigner;
use aws_lc_rs::rand;
use jwt_core::key_lifecycle::{Lifecycle, Publication, SignedBy, Standing, Step, Which};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};
use transport::files::FileError;

/// How long nothing happens at most: the system's clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// How long the end may take.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(5);

/// The one that looks after the keys of a service.
pub(super) struct Keeper {
    store: Arc<KeyStore>,
    registry: RegistryClient,
    rotate_every: Option<Duration>,
    life: Lifecycle,
    active: Option<GeneratedKey>,
    pending: Option<GeneratedKey>,
    signer: Arc<RequestSigner>,
    /// The key that `signer` has.
    in_use: Option<String>,
    status: StatusSender,
}

impl Keeper {
    /// With the keys on the disk. `in_use` is the one that `signer` has already.
    pub(super) fn new(
        settings: &Settings,
        (store, stored): (KeyStore, StoredKeys),
        in_use: Option<String>,
        signer: Arc<RequestSigner>,
        status: StatusSender,
    ) -> Self {
        let registry = RegistryClient::new(settings);
        let store = Arc::new(store);
        let published_at = stored.active.as_ref().map(GeneratedKey::published_at);
        Self {
            life: Lifecycle::new(
                settings.rotate_every,
                published_at,
                stored.pending.is_some(),
                chance(),
            ),
            store,
            registry,
            rotate_every: settings.rotate_every,
            active: stored.active,
            pending: stored.pending,
            signer,
            in_use,
            status,
        }
    }

    /// Until it is told to stop.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let step = self.life.next(now());
            tracing::debug!(?step, "signing key");
            let ended = match step {
                Step::Wait(pause) => tokio::select! {
                    _ = &mut stopped => true,
                    () = sleep(pause.min(LONGEST_SLEEP)) => false,
                },
                // What waits for the registry can be given up, what is done to the disk cannot.
                Step::Check(_) | Step::Publish(_) => tokio::select! {
                    _ = &mut stopped => true,
                    () = self.perform(step) => false,
                },
                Step::Make | Step::Activate | Step::Discard => {
                    self.perform(step).await;
                    stopped.try_recv() != Err(oneshot::error::TryRecvError::Empty)
                }
            };
            if ended {
                break;
            }
            self.tell();
        }
        if timeout(PATIENCE_AT_THE_END, self.wind_up()).await.is_err() {
            warn!("the key that nobody approved is left to the next start");
        }
    }

    async fn perform(&mut self, step: Step) {
        let failure = match step {
            Step::Wait(_) => Ok(()),
            Step::Check(which) => self.check(which).await.map(drop),
            Step::Make => self.make().await,
            Step::Publish(signed_by) => self.publish(signed_by).await,
            Step::Activate => self.activate().await,
            Step::Discard => self.discard().await,
        };
        if let Err(problem) = failure {
            self.life.failed(now(), chance());
            self.report(&problem.to_string());
        }
    }

    async fn check(&mut self, which: Which) -> Result<Standing, Failure> {
        let key = match which {
            Which::Active => &self.active,
            Which::Pending => &self.pending,
        };
        let key = key.as_ref().ok_or(Failure::NoSuchKey)?;
        let Outcome { result, problem } = self.registry.check(key).await;
        match (which, result) {
            (Which::Active, Standing::Unknown) => {
                warn!(
                    "the registry does not know the key {}: making a new one",
                    key.id()
                );
            }
            (Which::Active, Standing::Expired) => {
                warn!("the key {} has expired: making a new one", key.id());
            }
            (Which::Active, Standing::AwaitsApproval) => {
                warn!(
                    "the registry wants approval for the active key {}",
                    key.id()
                );
            }
            _ => {}
        }
        self.life.checked(which, result, now(), chance());
        self.note(problem);
        Ok(result)
    }

    async fn make(&mut self) -> Result<(), Failure> {
        // Arithmetic of up to a second, on a thread that may take that long.
        let key = spawn_blocking(GeneratedKey::make).await;
        self.pending = Some(key.map_err(|_| Failure::Interrupted)??);
        self.life.made();
        Ok(())
    }

    /// On the disk first: whatever happens from here on, the next start finds the key.
    async fn publish(&mut self, signed_by: SignedBy) -> Result<(), Failure> {
        let key = self.pending.as_ref().ok_or(Failure::NoSuchKey)?;
        let key = key.published(now());
        let saved = key.clone();
        on_disk(&self.store, move |store| store.save_pending(&saved)).await?;
        let signer = match signed_by {
            SignedBy::Itself => &key,
            SignedBy::ActiveKey => self.active.as_ref().ok_or(Failure::NoSuchKey)?,
        };
        self.life.publishing();
        let published = self.registry.publish(&key, signer, self.rotate_every);
        let Outcome { result, problem } = published.await;
        if result == Publication::AwaitsApproval {
            info!("the key {} awaits approval by the key registry", key.id());
        }
        self.pending = Some(key);
        self.life.published(result, now(), chance());
        self.note(problem);
        Ok(())
    }

    /// The registry serves the pending key, and no longer the active one: requests are signed
    /// with it at once, even if the disk cannot follow. It has the key as the pending one.
    async fn activate(&mut self) -> Result<(), Failure> {
        let key = self.pending.as_ref().ok_or(Failure::NoSuchKey)?;
        self.signer.use_key(key.signing_key()?, key.id());
        self.in_use = Some(key.id().to_owned());
        let id = key.id().to_owned();
        on_disk(&self.store, move |store| store.activate(&id)).await?;
        info!("signing with the key {}", key.id());
        self.life.activated(key.published_at(), now());
        self.active = self.pending.take();
        self.status.change(|status| status.activations += 1);
        self.note(None);
        Ok(())
    }

    async fn discard(&mut self) -> Result<(), Failure> {
        on_disk(&self.store, KeyStore::discard_pending).await?;
        if let Some(key) = self.pending.take() {
            warn!(
                "the key {} was revoked or has expired before it was used: making a new one",
                key.id()
            );
        }
        self.life.discarded();
        Ok(())
    }

    /// Has requests signed with the active key, or refused.
    fn tell(&mut self) {
        let usable = self.active.as_ref().filter(|_| self.life.may_sign());
        let id = usable.map(|key| key.id().to_owned());
        let may_change = self.pending_is_not_in_use();
        if let Some(key) = usable.filter(|_| may_change && id != self.in_use) {
            match key.signing_key() {
                Ok(signing_key) => {
                    self.signer.use_key(signing_key, key.id());
                    info!("signing with the key {}", key.id());
                    self.in_use = id;
                }
                Err(problem) => error!("the key {} cannot be used: {problem}", key.id()),
            }
        } else if usable.is_none() && may_change && self.life.has_asked() {
            self.in_use = None;
            self.signer.use_no_key(self.reason());
        }
        self.update_status();
    }

    /// A key that was activated, and is not on the disk as the active one yet, stays in use.
    fn pending_is_not_in_use(&self) -> bool {
        let pending = self.pending.as_ref().map(GeneratedKey::id);
        pending.is_none() || pending != self.in_use.as_deref()
    }

    /// Why requests are not signed.
    fn reason(&self) -> String {
        match &self.pending {
            Some(key) if self.life.awaits_approval() => {
                let id = key.id();
                format!("the signing key {id} awaits approval by the key registry")
            }
            _ => "no signing key is active yet".into(),
        }
    }

    fn update_status(&self) {
        let published_at = self.active.as_ref().map(|key| {
            let seconds = u64::try_from(key.published_at().seconds()).unwrap_or_default();
            let since = Duration::from_secs(seconds);
            SystemTime::checked_add(&UNIX_EPOCH, since).unwrap_or(UNIX_EPOCH)
        });
        self.status.change(|status| {
            status.phase = match &self.in_use {
                Some(_) => Phase::Active,
                None if self.life.awaits_approval() => Phase::AwaitsApproval,
                None => Phase::NoKey,
            };
            status.active = self.in_use.clone();
            status.pending = self.pending.as_ref().map(|key| key.id().to_owned());
            status.published_at = published_at;
        });
    }

    fn note(&self, problem: Option<String>) {
        match problem {
            Some(problem) => self.report(&problem),
            None => self.status.change(|status| status.problem = None),
        }
    }

    fn report(&self, problem: &str) {
        warn!("the signing key: {problem}; trying again");
        self.status.change(|status| {
            status.problem = Some(problem.to_owned());
            status.failed_steps += 1;
        });
    }

    /// The contract: "A pending key that was never approved is revoked (DELETE) at shutdown."
    ///
    /// Whether it was is asked first: the last answer may be ten seconds old. A key of which that
    /// stays unknown is left on the disk, for the next start to ask.
    async fn wind_up(mut self) {
        if !self.life.may_be_published() {
            return;
        }
        match self.check(Which::Pending).await {
            Ok(Standing::Approved) => self.perform(Step::Activate).await,
            Ok(Standing::AwaitsApproval) => self.revoke_pending().await,
            Ok(Standing::Expired | Standing::Unknown | Standing::Unclear) | Err(_) => {}
        }
    }

    async fn revoke_pending(&mut self) {
        let Some(key) = &self.pending else { return };
        let Outcome { result, problem } = self.registry.revoke(key).await;
        if !result {
            let problem = problem.unwrap_or_default();
            warn!("the key {} that nobody approved stays: {problem}", key.id());
        } else if let Err(error) = on_disk(&self.store, KeyStore::discard_pending).await {
            error!("{error}");
        } else {
            info!("revoked the key {}, which nobody has approved", key.id());
        }
    }
}

/// Why a step was not done, for reasons of this machine.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Disk(#[from] FileError),
    #[error(transparent)]
    Key(#[from] GeneratedKeyError),
    #[error("there is no such key")]
    NoSuchKey,
    #[error("interrupted")]
    Interrupted,
}

/// The disk may take its time: a thread waits for it.
async fn on_disk<T: Send + 'static>(
    store: &Arc<KeyStore>,
    work: impl FnOnce(&KeyStore) -> Result<T, FileError> + Send + 'static,
) -> Result<T, Failure> {
    let store = Arc::clone(store);
    let finished = spawn_blocking(move || work(&store)).await;
    Ok(finished.map_err(|_| Failure::Interrupted)??)
}

/// Random, so that many signers do not ask one registry at the same time.
fn chance() -> u16 {
    let mut bytes = [0; 2];
    // Without chance the pauses are merely the longest.
    let _ = rand::fill(&mut bytes);
    u16::from_ne_bytes(bytes)
}
