//! Everything that runs for clients, so that it can be brought to an end.

use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::warn;

/// Counts the tasks, tells them that the end is near, and ends them.
#[derive(Clone, Debug, Default)]
pub(super) struct Lifetime {
    tasks: TaskTracker,
    drain: CancellationToken,
    end: CancellationToken,
}

impl Lifetime {
    /// Runs a task that ends with all the others at the latest.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let end = self.end.clone();
        self.tasks.spawn(async move {
            end.run_until_cancelled_owned(task).await;
        });
    }

    /// Ready once the shutdown has begun: finish what is in flight, begin nothing new.
    pub(super) async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Ends all tasks at once when it is dropped.
    pub(super) fn ends_with(&self) -> DropGuard {
        self.end.clone().drop_guard()
    }

    /// Tells all tasks to finish, waits as long as `patience` and then ends what is left.
    pub(super) async fn finish(&self, patience: Duration) {
        self.drain.cancel();
        self.tasks.close();
        if timeout(patience, self.tasks.wait()).await.is_err() {
            let connections = self.tasks.len();
            warn!(
                connections,
                "shutdown timeout passed, ending open connections"
            );
            self.end.cancel();
            self.tasks.wait().await;
        }
    }
}
