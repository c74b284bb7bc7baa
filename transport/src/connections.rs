//! Which connection gives way when there are too many.
//!
//! Anyone can open connections and say nothing on them. A server that stops accepting when it is
//! full lets silent clients lock out those that speak. Here a new connection is always admitted,
//! and another one closes for it:
//!
//! - A connection is *silent* until a complete request head has arrived on it. A source has a
//!   bounded number of silent connections; beyond it, its oldest one closes.
//! - In all, there is a bounded number of connections. Beyond it, the oldest silent connection of
//!   the source that has most of them closes; where no connection is silent, the one whose last
//!   request is longest ago, of the source that has most.
//!
//! Connections that have delivered a head are not bounded by source: many clients can share the
//! address of a load balancer.
//!
//! A server whose requests take long, such as a proxy, says when a connection is at [`Work`]: it
//! does not close for another one then. Such a server waits for [`Connections::room`].

mod ranking;
mod source;
#[cfg(test)]
mod tests;
mod work;

pub use source::Source;
pub use work::Work;

use ranking::Ranking;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How many connections a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub connections: usize,
    /// Without a complete head, of one source.
    pub silent_per_source: usize,
}

impl Limits {
    /// So many connections in all, an eighth of them silent and of one source.
    pub fn of(connections: usize) -> Self {
        Self {
            connections,
            silent_per_source: (connections / 8).clamp(1, 512),
        }
    }
}

/// The open connections of a server. Clones share them.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Mutex<Table>>);

/// One open connection; dropping this says that it is closed.
#[derive(Debug)]
pub struct Connection {
    connections: Connections,
    source: Source,
    id: u64,
    must_close: Arc<Notify>,
}

impl Connections {
    /// None is open yet.
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(Table {
            limits,
            ticks: 0,
            open: HashMap::new(),
            silent: Ranking::default(),
            speaking: Ranking::default(),
            freed: Arc::default(),
        })))
    }

    /// Admits a new connection, for which another one may have to close.
    pub fn admit(&self, source: Source) -> Connection {
        let mut table = self.lock();
        if table.silent.count_of(source) >= table.limits.silent_per_source
            && let Some(oldest) = table.silent.oldest_of(source)
        {
            table.close(oldest);
        }
        if table.open.len() >= table.limits.connections {
            table.close_one();
        }
        let must_close = Arc::new(Notify::new());
        Connection {
            connections: self.clone(),
            source,
            id: table.insert(source, Arc::clone(&must_close)),
            must_close,
        }
    }

    /// Makes a connection close, where the process turns out to be out of file descriptors.
    pub fn make_room(&self) {
        self.lock().close_one();
    }

    /// Waits until a new connection can be admitted without closing one that is at work.
    pub async fn room(&self) {
        loop {
            let freed = Arc::clone(&self.lock().freed);
            // Before the look at the table, so that nothing is missed in between.
            let freed = freed.notified();
            if self.lock().has_room() {
                return;
            }
            freed.await;
        }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.lock().open.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Where it comes from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// A complete head of a request has arrived: the connection is no longer silent. To be called
    /// for each request.
    pub fn head_arrived(&self) {
        self.connections.lock().hear(self.id);
    }

    /// Waits until the connection must close for another one.
    pub async fn must_close(&self) {
        self.must_close.notified().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.lock().remove(self.id);
    }
}

#[derive(Debug)]
struct Table {
    limits: Limits,
    /// Counts events, and so tells which was earlier.
    ticks: u64,
    /// By the tick of their admission.
    open: HashMap<u64, Open>,
    silent: Ranking,
    speaking: Ranking,
    /// Woken when there may be room again.
    freed: Arc<Notify>,
}

#[derive(Debug)]
struct Open {
    source: Source,
    /// The tick of the last head.
    heard: Option<u64>,
    /// While there are any it is not ranked, so it is not closed.
    works: usize,
    must_close: Arc<Notify>,
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.ticks = self.ticks.wrapping_add(1);
        self.ticks
    }

    fn insert(&mut self, source: Source, must_close: Arc<Notify>) -> u64 {
        let id = self.tick();
        self.silent.insert(source, id, id);
        let open = Open {
            source,
            heard: None,
            works: 0,
            must_close,
        };
        self.open.insert(id, open);
        id
    }

    fn hear(&mut self, id: u64) {
        let now = self.tick();
        // One that had to close is no longer among them.
        if let Some(open) = self.open.get_mut(&id) {
            let before = open.heard.replace(now);
            if open.works > 0 {
                return;
            }
            match before {
                None => self.silent.remove(open.source, id),
                Some(before) => self.speaking.remove(open.source, before),
            }
            self.speaking.insert(open.source, now, id);
        }
    }

    fn has_room(&self) -> bool {
        self.open.len() < self.limits.connections
            || self.silent.first().is_some()
            || self.speaking.first().is_some()
    }

    fn close_one(&mut self) {
        if let Some(id) = self.silent.first().or_else(|| self.speaking.first()) {
            self.close(id);
        }
    }

    /// It counts no more from now on, though its socket takes a moment to close.
    fn close(&mut self, id: u64) {
        if let Some(open) = self.remove(id) {
            open.must_close.notify_one();
        }
    }

    fn remove(&mut self, id: u64) -> Option<Open> {
        let open = self.open.remove(&id)?;
        match open.heard {
            _ if open.works > 0 => {}
            None => self.silent.remove(open.source, id),
            Some(heard) => self.speaking.remove(open.source, heard),
        }
        self.freed.notify_waiters();
        Some(open)
    }
}
