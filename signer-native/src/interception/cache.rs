//! The certificates that are in use, so that each is made once.

use super::leaf::{Leaf, LeafError, Template};
use super::turns::{Turn, Turns};
use super::{Authority, AuthorityError};
use lru::LruCache;
use prometheus_client::metrics::counter::Counter;
use rustls::ServerConfig;
use rustls_pki_types::ServerName;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use transport::connections::Source;

/// Hosts whose certificates are kept: some ten kilobytes each.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Filled by the first who needs it, while the others wait.
type Slot = Arc<OnceCell<Leaf>>;

/// Gives each host its certificate.
pub struct Interceptor {
    authority: Arc<Authority>,
    template: Arc<Template>,
    slots: Mutex<LruCache<ServerName<'static>, Slot>>,
    turns: Turns,
    counters: CacheCounters,
}

/// How often a certificate was there already.
#[derive(Clone, Debug, Default)]
pub struct CacheCounters {
    /// Found.
    pub hits: Counter,
    /// Had to be made.
    pub misses: Counter,
}

impl Interceptor {
    /// One that issues with `authority`.
    pub fn new(authority: Authority) -> Result<Self, AuthorityError> {
        Ok(Self {
            authority: Arc::new(authority),
            template: Arc::new(Template::new().map_err(|_| AuthorityError::KeyType)?),
            slots: Mutex::new(LruCache::new(CAPACITY)),
            turns: Turns::new(),
            counters: CacheCounters::default(),
        })
    }

    /// What TLS needs to speak as `host` with a client of `source`, made at most once however many
    /// ask.
    pub async fn tls_for(
        &self,
        host: ServerName<'static>,
        source: Source,
    ) -> Result<Arc<ServerConfig>, LeafError> {
        self.tls_at(host, source, OffsetDateTime::now_utc()).await
    }

    /// They go on counting.
    pub fn counters(&self) -> &CacheCounters {
        &self.counters
    }

    async fn tls_at(
        &self,
        host: ServerName<'static>,
        source: Source,
        now: OffsetDateTime,
    ) -> Result<Arc<ServerConfig>, LeafError> {
        let slot = self.slot(&host, now);
        if self.authority.signs_at_once() || slot.initialized() {
            let leaf = slot.get_or_try_init(|| self.issue(host, now)).await?;
            return Ok(Arc::clone(&leaf.tls));
        }
        // Before the slot is taken: who waits in the queue of another source would wait as long.
        let turn = self.turns.next(source).await;
        if let Some(leaf) = slot.get() {
            return Ok(Arc::clone(&leaf.tls));
        }
        let leaf = slot.get_or_try_init(|| self.issue(host, now)).await;
        turn.into_iter().for_each(Turn::used);
        Ok(Arc::clone(&leaf?.tls))
    }

    /// An empty slot takes the place of one whose certificate is due for renewal.
    fn slot(&self, host: &ServerName<'static>, now: OffsetDateTime) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(host)
            && slot
                .get()
                .is_none_or(|leaf| leaf.is_fresh(&self.authority, now))
        {
            self.counters.hits.inc();
            return Arc::clone(slot);
        }
        self.counters.misses.inc();
        let slot = Slot::default();
        slots.put(host.clone(), Arc::clone(&slot));
        slot
    }

    /// Whether the certificate of `host` is there, or is being made.
    pub(crate) fn knows(&self, host: &ServerName<'_>) -> bool {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.contains(&host.to_owned())
    }

    /// Away from the threads that serve if the authority has an RSA key: of 4096 bits a signature
    /// takes milliseconds. With an EC key it takes less than the way to another thread.
    async fn issue(
        &self,
        host: ServerName<'static>,
        now: OffsetDateTime,
    ) -> Result<Leaf, LeafError> {
        let authority = Arc::clone(&self.authority);
        let template = Arc::clone(&self.template);
        if authority.signs_at_once() {
            return Leaf::issue(&authority, &template, &host, now);
        }
        tokio::task::spawn_blocking(move || Leaf::issue(&authority, &template, &host, now))
            .await
            // Only when the runtime is going down.
            .map_err(|_| LeafError::Issue(rcgen::Error::RingUnspecified))?
    }
}

impl fmt::Debug for Interceptor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Interceptor")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    fn with_rsa() -> Interceptor {
        let key = include_bytes!("../../tests/ca/rsa-pkcs8.pem");
        let certificate = include_bytes!("../../tests/ca/rsa.crt");
        Interceptor::new(Authority::from_pem(key, certificate).unwrap()).unwrap()
    }

    fn interceptor() -> Interceptor {
        let key = include_bytes!("../../tests/ca/ec-pkcs8.pem");
        let certificate = include_bytes!("../../tests/ca/ec.crt");
        Interceptor::new(Authority::from_pem(key, certificate).unwrap()).unwrap()
    }

    fn host(name: &str) -> ServerName<'static> {
        ServerName::try_from(name.to_owned()).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_who_ask_at_once_get_one_certificate() {
        one_certificate_of(interceptor()).await;
        one_certificate_of(with_rsa()).await;
    }

    async fn one_certificate_of(interceptor: Interceptor) {
        let interceptor = Arc::new(interceptor);
        let asked: Vec<_> = (0..50)
            .map(|_| {
                let interceptor = Arc::clone(&interceptor);
                tokio::spawn(async move {
                    interceptor
                        .tls_for(host("a.test"), Source::LOCAL)
                        .await
                        .unwrap()
                })
            })
            .collect();
        let mut configs = Vec::new();
        for task in asked {
            configs.push(task.await.unwrap());
        }
        assert!(
            configs
                .windows(2)
                .all(|pair| Arc::ptr_eq(&pair[0], &pair[1]))
        );
        let counters = interceptor.counters();
        assert_eq!((counters.hits.get(), counters.misses.get()), (49, 1));
    }

    #[tokio::test]
    async fn hosts_have_certificates_of_their_own() {
        let interceptor = interceptor();
        let one = interceptor
            .tls_for(host("a.test"), Source::LOCAL)
            .await
            .unwrap();
        let other = interceptor
            .tls_for(host("b.test"), Source::LOCAL)
            .await
            .unwrap();
        assert!(!Arc::ptr_eq(&one, &other));
        // Whatever the case of the name.
        let again = interceptor
            .tls_for(host("A.Test"), Source::LOCAL)
            .await
            .unwrap();
        assert!(Arc::ptr_eq(&one, &again));
    }

    #[tokio::test]
    async fn a_certificate_near_its_end_is_replaced() {
        let interceptor = interceptor();
        let now = OffsetDateTime::now_utc();
        let at = |now| interceptor.tls_at(host("a.test"), Source::LOCAL, now);
        let old = at(now).await.unwrap();
        assert!(Arc::ptr_eq(
            &old,
            &at(now + Duration::hours(1)).await.unwrap()
        ));
        let new = at(now + Duration::hours(20)).await.unwrap();
        assert!(!Arc::ptr_eq(&old, &new));
    }

    #[tokio::test]
    async fn no_more_are_kept_than_there_is_room_for() {
        let interceptor = interceptor();
        for number in 0..CAPACITY.get() + 10 {
            interceptor.slot(&host(&format!("h{number}.test")), OffsetDateTime::now_utc());
        }
        let slots = interceptor.slots.lock().unwrap();
        assert_eq!(slots.len(), CAPACITY.get());
    }
}
