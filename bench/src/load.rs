//! Load by wrk, which is nobody's of ours.

use crate::process::{Process, load_core, pinned};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The script that tells wrk what to send and prints what came back.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/wrk/requests.lua");

/// Tokens in a file, one a line, all of one length.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The file.
    pub file: PathBuf,
    /// How many of the first to leave out: they are used.
    pub skip: usize,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Load {
    /// `http://address` or `https://address`, without a path.
    pub url: String,
    /// The request target.
    pub target: String,
    /// Further header fields.
    pub headers: Vec<(&'static str, String)>,
    /// A token for each request; `None` sends none.
    pub tokens: Option<Tokens>,
    /// Connections kept alive.
    pub connections: usize,
    /// Threads of wrk.
    pub threads: usize,
    /// How long.
    pub duration: Duration,
    /// How long a connection waits on average before each request.
    pub pause: Option<Duration>,
    /// Whether every request is to be refused, instead of answered.
    pub refused: bool,
    /// Where wrk runs.
    pub cores: String,
}

impl Load {
    /// Keep-alive GETs for `/` from 32 connections for a second, answered well.
    pub fn on(address: SocketAddr) -> Self {
        Self {
            url: format!("http://{address}"),
            target: "/".into(),
            headers: Vec::new(),
            tokens: None,
            connections: 32,
            threads: 1,
            duration: Duration::from_secs(1),
            pause: None,
            refused: false,
            cores: load_core().into(),
        }
    }

    /// Each request with a token of its own.
    pub fn with_tokens(self, file: &std::path::Path, skip: usize) -> Self {
        let file = file.to_owned();
        let tokens = Some(Tokens { file, skip });
        Self { tokens, ..self }
    }

    /// Every request with this token.
    pub fn with_token(mut self, token: &str) -> Self {
        let field = ("authorization", format!("Bearer {token}"));
        self.headers.push(field);
        self
    }

    /// Every request is refused.
    pub fn refused(self) -> Self {
        Self {
            refused: true,
            ..self
        }
    }

    /// Sends, while the CPU time of `subject` is watched.
    ///
    /// A response of the other kind, or none, ends everything: whatever is measured then is not
    /// what it is said to be.
    pub fn run(&self, subject: &Process) -> Sample {
        let before = subject.cpu_time();
        let wrk = self.command().output().expect("wrk runs");
        // A thread that has ended meanwhile takes what it had used before with it: next to nothing.
        let cpu = subject.cpu_time().saturating_sub(before);
        let text = String::from_utf8_lossy(&wrk.stdout);
        let line = text.lines().find_map(|line| line.strip_prefix("RESULT "));
        let line = line.unwrap_or_else(|| {
            panic!("wrk: {text}{}", String::from_utf8_lossy(&wrk.stderr));
        });
        let numbers: Vec<f64> = line
            .split_whitespace()
            .map(|number| number.parse().expect("a number"))
            .collect();
        let [requests, microseconds, failed, refused, p50, p99] = numbers[..] else {
            panic!("wrk printed {line:?}");
        };
        let expected = if self.refused { requests } else { 0.0 };
        assert!(
            failed == 0.0 && refused == expected,
            "{}: of {requests} requests {failed} had no response, {refused} were refused",
            self.url,
        );
        let seconds = microseconds / 1e6;
        Sample {
            requests: requests as u64,
            per_second: requests / seconds,
            per_cpu_second: requests / cpu.as_secs_f64(),
            utilization: cpu.as_secs_f64() / seconds,
            p50_us: p50,
            p99_us: p99,
        }
    }

    fn command(&self) -> Command {
        let mut wrk = Command::new("wrk");
        wrk.args(["--threads", &self.threads.to_string()])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.duration.as_secs())])
            .args(["--script", SCRIPT]);
        for (name, value) in &self.headers {
            wrk.args(["--header", &format!("{name}: {value}")]);
        }
        wrk.arg(&self.url)
            .env("TARGET", &self.target)
            .env("THREADS", self.threads.to_string());
        if let Some(Tokens { file, skip }) = &self.tokens {
            wrk.env("TOKENS", file).env("SKIP", skip.to_string());
        }
        if let Some(pause) = self.pause {
            wrk.env("PAUSE", format!("{:.3}", 1e3 * pause.as_secs_f64()));
        }
        pinned(&self.cores, &wrk)
    }
}

/// What one run of wrk has shown.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Responses.
    pub requests: u64,
    /// Responses a second.
    pub per_second: f64,
    /// Responses a second of the subject's CPU time: its speed, if it had a core for itself and
    /// were never waited for.
    pub per_cpu_second: f64,
    /// The cores that the subject kept busy.
    pub utilization: f64,
    /// Median latency, in microseconds; not a number where there is none.
    pub p50_us: f64,
    /// 99th percentile of latency, in microseconds.
    pub p99_us: f64,
}
