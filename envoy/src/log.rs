//! Envoy's log, passed on as our own.
//!
//! What Envoy says contains what clients send it. So a line may hold any bytes, be as long as it
//! likes, and try to look like another line or to command the terminal that shows it. Two threads
//! read and write, with a bounded queue between them: an Envoy whose pipe is full stops serving.

mod lines;
mod text;

use lines::Lines;
use std::collections::VecDeque;
use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, thread};
use tokio::sync::oneshot;
use tracing::{Level, debug, enabled, error, info, warn};

/// Envoy's own format, made easy to read back: the level, a space, the message.
pub(crate) const FORMAT: [&str; 3] = ["--log-format", "%l %v", "--log-format-escaped"];

/// The messages kept for the report of a failed start.
const KEPT_MESSAGES: usize = 20;

/// How many messages wait while our own log is slow; more are dropped and counted.
const QUEUE: usize = 1024;

/// The last messages of the log.
#[derive(Clone, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<String>>>);

/// A message of Envoy, with nothing in it that could be more than text.
struct Entry {
    level: Level,
    message: String,
    /// So many messages before it were dropped.
    dropped: u64,
}

impl Tail {
    pub(crate) fn text(&self) -> String {
        let messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = messages.iter().flat_map(|message| message.lines());
        let lines: Vec<_> = lines.map(|line| format!("  {line}")).collect();
        lines.join("\n")
    }

    fn push(&self, message: String) {
        let mut messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() == KEPT_MESSAGES {
            messages.pop_front();
        }
        messages.push_back(message);
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

/// Passes messages on until the last one; then the receiver hears of it.
pub(crate) fn pass_on(
    output: impl Read + Send + 'static,
    tail: Tail,
) -> io::Result<oneshot::Receiver<()>> {
    let (entries, written) = sync_channel(QUEUE);
    let (done, at_end) = oneshot::channel();
    // Threads of their own: those of the runtime may be waiting for a log without a reader.
    named("envoy-log-write").spawn(move || write(&written))?;
    named("envoy-log-read").spawn(move || {
        read(output, &tail, &entries);
        let _ = done.send(());
    })?;
    Ok(at_end)
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned())
}

fn read(output: impl Read, tail: &Tail, entries: &SyncSender<Entry>) {
    let mut dropped = 0;
    for line in Lines::new(output) {
        let (level, message) = split(&line.bytes);
        let mut message = text::decoded(&message);
        if line.left_out > 0 {
            message.push_str(&format!(" ({} more bytes)", line.left_out));
        }
        tail.push(text::printable_lines(&message));
        let entry = Entry {
            level,
            message: text::printable(&message),
            dropped,
        };
        match entries.try_send(entry) {
            Ok(()) => dropped = 0,
            Err(TrySendError::Full(_)) => dropped += 1,
            // There is no one left to tell, but Envoy's pipe must be emptied all the same.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

fn write(entries: &Receiver<Entry>) {
    for entry in entries {
        if entry.dropped > 0 {
            let count = entry.dropped;
            warn!(target: "envoy", "{count} messages of Envoy not logged: the log is too slow");
        }
        let message = entry.message;
        match entry.level {
            Level::ERROR => error!(target: "envoy", "{message}"),
            Level::WARN => warn!(target: "envoy", "{message}"),
            Level::INFO => info!(target: "envoy", "{message}"),
            _ => debug!(target: "envoy", "{message}"),
        }
    }
}

/// The level of a line and its message. What does not come from Envoy's logger, such as the last
/// words of a library that aborts, has no level.
fn split(line: &[u8]) -> (Level, Vec<u8>) {
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    let (level, message) = (parts.next(), parts.next());
    let level = match level {
        Some(b"critical" | b"error") => Level::ERROR,
        Some(b"warning") => Level::WARN,
        Some(b"info") => Level::INFO,
        Some(b"debug" | b"trace") => Level::DEBUG,
        _ => return (Level::WARN, line.to_owned()),
    };
    (
        level,
        without_prefix(text::unescaped(message.unwrap_or_default())),
    )
}

/// "wasm log <name> <root id>: ", with the VM's id as well for streams, stands before what the filter
/// says.
fn without_prefix(message: Vec<u8>) -> Vec<u8> {
    let said = message
        .strip_prefix(b"wasm log jwtproxy jwtproxy")
        .map(|rest| rest.strip_prefix(b" jwtproxy").unwrap_or(rest))
        .and_then(|rest| rest.strip_prefix(b": jwtproxy: "));
    match said {
        Some(said) => said.to_owned(),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_back_and_the_filter_speaks_for_itself() {
        for (line, level, message) in [
            ("warning some text", Level::WARN, "some text"),
            ("critical \\'quoted\\'", Level::ERROR, "'quoted'"),
            ("  at further \\lines", Level::WARN, "  at further \\lines"),
            ("info", Level::INFO, ""),
            (
                "info wasm log jwtproxy jwtproxy jwtproxy: jwtproxy: ready",
                Level::INFO,
                "ready",
            ),
            (
                "info wasm log jwtproxy jwtproxy: jwtproxy: 2 more",
                Level::INFO,
                "2 more",
            ),
            // A prefix that a client sent stays where it is.
            (
                "info wasm log jwtproxy jwtproxy jwtproxy: jwtproxy: refused jwtproxy: jwtproxy: ready",
                Level::INFO,
                "refused jwtproxy: jwtproxy: ready",
            ),
        ] {
            let expected = (level, message.as_bytes().to_owned());
            assert_eq!(split(line.as_bytes()), expected, "{line}");
        }
    }

    /// Reads all of it, and returns what would be logged and what a failed start would report.
    fn logged(output: &[u8]) -> (Vec<(Level, String)>, String) {
        let (entries, written) = sync_channel(QUEUE);
        let tail = Tail::default();
        read(output, &tail, &entries);
        drop(entries);
        let written = written
            .into_iter()
            .map(|entry| (entry.level, entry.message));
        (written.collect(), tail.text())
    }

    #[test]
    fn a_line_that_is_not_utf_8_does_not_end_the_log() {
        let (lines, _) = logged(b"info \xff\xfe\ninfo \\xff\\303\ninfo \0\ninfo next\n");
        let messages: Vec<_> = lines.iter().map(|(_, message)| message.as_str()).collect();
        assert_eq!(
            messages,
            ["\u{fffd}\u{fffd}", "\u{fffd}\u{fffd}", "\\u{0}", "next"]
        );
    }

    #[test]
    fn a_message_cannot_look_like_another_one_or_command_the_terminal() {
        let (lines, tail) = logged(b"info refused \\x1b[31m\\nerror forged\\r\\xe2\\x80\\xae\n");
        let expected = "refused \\u{1b}[31m\\nerror forged\\r\\u{202e}";
        assert_eq!(lines, [(Level::INFO, expected.to_owned())]);
        assert_eq!(tail, "  refused \\u{1b}[31m\n  error forged\\r\\u{202e}");
    }

    #[test]
    fn a_log_that_nobody_writes_is_read_all_the_same() {
        let (entries, written) = sync_channel(2);
        read(
            b"info a\ninfo b\ninfo c\ninfo d\n".as_slice(),
            &Tail::default(),
            &entries,
        );
        assert_eq!(written.try_iter().count(), 2);
        drop(written);
        read(b"info a\ninfo b\n".as_slice(), &Tail::default(), &entries);
    }
}
