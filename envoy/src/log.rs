//! Envoy's log, passed on as our own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tracing::{Level, debug, enabled, error, info, warn};

/// Envoy's own format, made easy to read back: the level, a space, the message.
pub(crate) const FORMAT: &str = "%l %v";

/// The lines kept for the report of a failed start.
const KEPT_LINES: usize = 20;

/// The last lines of the log.
#[derive(Clone, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    pub(crate) fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .map(|line| format!("  {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }
}

/// What Envoy is told to write at our own level. At `info` Envoy tells of each step of its start,
/// which is too much for ours.
pub(crate) fn levels() -> [&'static str; 4] {
    let (envoy, filter) = match () {
        // At `info`, "main" lists every extension there is.
        () if enabled!(Level::DEBUG) => ("info", "wasm:debug,main:warning"),
        () if enabled!(Level::INFO) => ("warning", "wasm:info"),
        () if enabled!(Level::WARN) => ("warning", "wasm:warning"),
        () => ("error", "wasm:error"),
    };
    ["--log-level", envoy, "--component-log-level", filter]
}

/// Passes lines on until there are no more.
pub(crate) async fn pass_on(output: impl AsyncRead + Unpin, tail: Tail) {
    let mut lines = BufReader::new(output).lines();
    let mut level = Level::INFO;
    while let Ok(Some(line)) = lines.next_line().await {
        let message = match split(&line) {
            Some((own, message)) => {
                level = own;
                message
            }
            // The further lines of a message.
            None => line.as_str(),
        };
        tail.push(message);
        match level {
            Level::ERROR => error!(target: "envoy", "{message}"),
            Level::WARN => warn!(target: "envoy", "{message}"),
            Level::INFO => info!(target: "envoy", "{message}"),
            _ => debug!(target: "envoy", "{message}"),
        }
    }
}

fn split(line: &str) -> Option<(Level, &str)> {
    let (level, message) = line.split_once(' ')?;
    let level = match level {
        "critical" | "error" => Level::ERROR,
        "warning" => Level::WARN,
        "info" => Level::INFO,
        "debug" | "trace" => Level::DEBUG,
        _ => return None,
    };
    // "wasm log <name> <root id>: " stands before what the filter says.
    Some((
        level,
        message
            .split_once("jwtproxy: jwtproxy: ")
            .map_or(message, |(_, said)| said),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_back_and_the_filter_speaks_for_itself() {
        assert_eq!(split("warning some text"), Some((Level::WARN, "some text")));
        assert_eq!(split("  at further lines"), None);
        let line = "info wasm log jwtproxy jwtproxy: jwtproxy: ready";
        assert_eq!(split(line), Some((Level::INFO, "ready")));
    }
}
