//! How many connections to servers there are at a time.
//!
//! One connection of a client can ask for many servers at a time (HTTP/2), and servers that do not
//! answer hold theirs for long. Without a bound a client could use up the file descriptors of the
//! process, and with them DNS and the way to the key registry. Three quarters of the places may be
//! of the clients of one source, so that others find some.

use crate::admin::Open;
use prometheus_client::metrics::gauge::Gauge;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use transport::connections::Source;

tokio::task_local! {
    /// Of the client whose request is being answered.
    static SOURCE: Source;
}

/// How long a connection waits for its place. Most requests end sooner.
const PATIENCE: Duration = Duration::from_secs(1);

/// The places; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    most: usize,
    /// What is left to each source. One without any place is forgotten.
    by_source: Arc<Mutex<HashMap<Source, Arc<Semaphore>>>>,
    open: Gauge,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    is_scarce: bool,
    open: Gauge,
    permits: Permits,
}

/// The place of a connection that has been opened, counted in the metrics.
#[derive(Debug)]
pub(super) struct Occupied {
    is_scarce: bool,
    _open: Open,
    _permits: Permits,
}

/// All are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("of the {0} connections that this proxy may have to servers none is free")]
pub(in crate::proxy) struct NoPlace(usize);

impl Places {
    pub(super) fn new(most: usize, open: Gauge) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(most)),
            most,
            by_source: Arc::default(),
            open,
        }
    }

    /// Waits a moment for one.
    pub(super) async fn take(&self, applicant: Applicant) -> Result<Place, NoPlace> {
        let waiting = self.permits(applicant);
        let permits = timeout(PATIENCE, waiting).await.ok().flatten();
        let permits = permits.ok_or(NoPlace(self.most))?;
        Ok(Place {
            is_scarce: self.free.available_permits() < self.most / 4,
            open: self.open.clone(),
            permits,
        })
    }

    async fn permits(&self, Applicant(source): Applicant) -> Option<Permits> {
        let Some(source) = source else {
            // No request needs it yet: it leaves half of the places to those that do.
            let are_many = self.free.available_permits() > self.most / 2;
            let permit = Arc::clone(&self.free).try_acquire_owned().ok();
            return permit.filter(|_| are_many).map(|permit| (permit, None));
        };
        let of_source = self.of_source(source).acquire_owned().await.ok()?;
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some((permit, Some(of_source)))
    }

    fn of_source(&self, source: Source) -> Arc<Semaphore> {
        let mut by_source = self
            .by_source
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if by_source.len() > self.most {
            // Its permits and those who wait for one hold it as well.
            by_source.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        let most = self.most - self.most / 4;
        let semaphore = by_source
            .entry(source)
            .or_insert_with(|| Arc::new(Semaphore::new(most)));
        Arc::clone(semaphore)
    }
}

/// Who asks for a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applicant(Option<Source>);

impl Applicant {
    /// The client whose request is being answered; none for a connection that is begun before its
    /// request.
    pub(super) fn current() -> Self {
        Self(SOURCE.try_with(|source| *source).ok())
    }
}

/// Answers a request of a client from there.
pub(in crate::proxy) async fn answering<F: Future>(source: Source, answer: F) -> F::Output {
    SOURCE.scope(source, answer).await
}

/// Of all places, and of those of the source.
type Permits = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

impl Place {
    /// For a connection that has been opened.
    pub(super) fn occupy(self) -> Occupied {
        Occupied {
            is_scarce: self.is_scarce,
            _open: Open::count(&self.open),
            _permits: self.permits,
        }
    }
}

impl Occupied {
    /// Whether it was one of the last quarter. Such a connection is not kept after its request, so
    /// that idle connections do not hold all places.
    pub(super) fn is_scarce(&self) -> bool {
        self.is_scarce
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn client(number: u8) -> Applicant {
        let address = IpAddr::from(Ipv4Addr::new(192, 0, 2, number));
        Applicant(Some(address.into()))
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_no_more_than_that_and_the_last_quarter_is_not_kept() {
        let open = Gauge::default();
        let places = Places::new(8, open.clone());
        let mut occupied = Vec::new();
        for number in 1..=8 {
            let place = places.take(client(number)).await.unwrap().occupy();
            assert_eq!(place.is_scarce(), number > 6, "{number}");
            occupied.push(place);
        }
        assert_eq!(open.get(), 8);
        assert_eq!(places.take(client(9)).await.unwrap_err(), NoPlace(8));
        drop(occupied.pop());
        assert_eq!(open.get(), 7);
        drop(places.take(client(9)).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn the_clients_of_one_source_leave_places_to_others() {
        let places = Places::new(8, Gauge::default());
        let mut taken = Vec::new();
        while let Ok(place) = places.take(client(1)).await {
            taken.push(place);
        }
        assert_eq!(taken.len(), 6);
        taken.push(places.take(client(2)).await.unwrap());
        drop(taken);
        assert!(places.take(client(1)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn connections_without_a_request_leave_half_of_the_places() {
        let places = Places::new(8, Gauge::default());
        let mut taken = Vec::new();
        while let Ok(place) = places.take(Applicant::current()).await {
            taken.push(place);
        }
        assert_eq!(taken.len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_waits_for_its_place() {
        let places = Places::new(1, Gauge::default());
        let place = places.take(client(1)).await.unwrap();
        let (taken, ()) = tokio::join!(places.take(client(1)), async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(place);
        });
        assert!(taken.is_ok());
    }

    #[tokio::test]
    async fn sources_without_a_place_are_forgotten() {
        let places = Places::new(4, Gauge::default());
        let held = places.take(client(0)).await.unwrap();
        for number in 1..=200 {
            drop(places.take(client(number)).await.unwrap());
        }
        assert!(places.by_source.lock().unwrap().len() <= 6);
        drop(held);
    }
}
