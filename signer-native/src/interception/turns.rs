//! Who may have a certificate signed by an RSA key, and when.
//!
//! Such a signature costs as much as many handshakes, and a client can name new hosts for ever: so
//! few are made at a time, a source uses a fifth of one processor at most, and no source waits for
//! the certificates of another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use transport::connections::Source;

/// Signatures of one source at a time.
const OF_ONE_SOURCE: usize = 2;

/// How long a source rests after a signature, in times of what it took.
const REST: u32 = 9;

/// The longest rest: what a busy machine takes long for is not its source's doing.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// Sources that are remembered before those without a turn are forgotten.
const SOURCES: usize = 256;

#[derive(Debug)]
pub(super) struct Turns {
    /// Half of the processors are left to the connections.
    all: Arc<Semaphore>,
    sources: Mutex<HashMap<Source, Weak<Semaphore>>>,
}

/// The right to make a signature, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    of_source: OwnedSemaphorePermit,
    of_all: OwnedSemaphorePermit,
    began: Instant,
}

impl Turns {
    pub(super) fn new() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            all: Arc::new(Semaphore::new((processors / 2).max(1))),
            sources: Mutex::default(),
        }
    }

    /// Waits until it is this source's turn; `None` only when the process ends.
    pub(super) async fn next(&self, source: Source) -> Option<Turn> {
        // In this order: a source that rests holds up no other.
        let of_source = self.of(source).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn {
            of_source,
            of_all,
            began: Instant::now(),
        })
    }

    fn of(&self, source: Source) -> Arc<Semaphore> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sources.get(&source).and_then(Weak::upgrade) {
            return known;
        }
        if sources.len() >= SOURCES {
            sources.retain(|_, known| known.strong_count() > 0);
        }
        let new = Arc::new(Semaphore::new(OF_ONE_SOURCE));
        sources.insert(source, Arc::downgrade(&new));
        new
    }
}

impl Turn {
    /// A signature was made: others go on at once, and the source after a rest.
    pub(super) fn used(self) {
        let rest = (self.began.elapsed() * REST).min(LONGEST_REST);
        drop(self.of_all);
        tokio::spawn(async move {
            sleep(rest).await;
            drop(self.of_source);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use tokio::task::JoinSet;

    fn source(last: u8) -> Source {
        IpAddr::from([192, 0, 2, last]).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_wants_many_certificates_holds_up_no_other() {
        let turns = Arc::new(Turns::new());
        let mut greedy = JoinSet::new();
        for _ in 0..1000 {
            let turns = Arc::clone(&turns);
            greedy.spawn(async move {
                let turn = turns.next(source(1)).await.unwrap();
                sleep(Duration::from_millis(5)).await;
                turn.used();
            });
        }
        tokio::task::yield_now().await;
        let began = Instant::now();
        let turn = turns.next(source(2)).await.unwrap();
        turn.used();
        assert!(began.elapsed() <= Duration::from_millis(20));
        while greedy.join_next().await.is_some() {}
        // Two at a time, and each rests.
        assert!(began.elapsed() >= Duration::from_secs(20));
    }

    #[tokio::test]
    async fn sources_are_forgotten() {
        let turns = Turns::new();
        let held = turns.of(source(1)).acquire_owned().await;
        for number in 0..10 * SOURCES {
            let address = IpAddr::from([10, 0, (number / 256) as u8, (number % 256) as u8]);
            drop(turns.next(address.into()).await);
        }
        assert!(turns.sources.lock().unwrap().len() <= SOURCES);
        assert!(turns.sources.lock().unwrap().contains_key(&source(1)));
        drop(held);
    }
}
