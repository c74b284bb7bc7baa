use super::{Connection, Table};
use std::sync::Arc;

/// A connection at work: until the value is dropped it does not close for another one.
#[derive(Debug)]
pub struct Work {
    connection: Arc<Connection>,
    is_request: bool,
}

impl Connection {
    /// The connection has delivered the head of a request, which is answered now.
    pub fn request(self: &Arc<Self>) -> Work {
        self.work(true)
    }

    /// The connection has delivered what only prepares for requests, such as a CONNECT: afterwards
    /// it is as silent as before.
    pub fn preparation(self: &Arc<Self>) -> Work {
        self.work(false)
    }

    fn work(self: &Arc<Self>, is_request: bool) -> Work {
        self.connections.lock().begin(self.id);
        Work {
            connection: Arc::clone(self),
            is_request,
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut table = self.connection.connections.lock();
        table.end(self.connection.id, self.is_request);
    }
}

impl Table {
    fn begin(&mut self, id: u64) {
        // One that had to close is no longer among them.
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        open.works += 1;
        if open.works > 1 {
            return;
        }
        match open.heard {
            None => self.silent.remove(open.source, id),
            Some(heard) => self.speaking.remove(open.source, heard),
        }
    }

    fn end(&mut self, id: u64, is_request: bool) {
        let now = self.tick();
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        if is_request {
            open.heard = Some(now);
        }
        open.works -= 1;
        if open.works > 0 {
            return;
        }
        match open.heard {
            None => self.silent.insert(open.source, id, id),
            Some(heard) => self.speaking.insert(open.source, heard, id),
        }
        self.freed.notify_waiters();
    }
}
