//! Where it was measured: figures of two machines are not to be compared.

use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::process::Command;
use std::thread;

/// The machine and the tools.
#[derive(Debug, Serialize)]
pub struct Machine {
    processor: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
    envoy: String,
    wrk: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let memory = field("/proc/meminfo", "MemTotal");
        let kilobytes: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let envoy = envoy::locate().unwrap_or_else(|error| panic!("{error}"));
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kilobytes >> 20,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            envoy: first_line(Command::new(envoy).arg("--version")),
            wrk: first_line(Command::new("wrk").arg("--version")),
        }
    }
}

impl Display for Machine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            processor,
            cores,
            memory_gib,
            kernel,
            envoy,
            wrk,
        } = self;
        writeln!(
            f,
            "{processor}, {cores} cores, {memory_gib} GiB, Linux {kernel}"
        )?;
        writeln!(f, "{envoy}, {wrk}")
    }
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
}

/// What a tool says of its version.
fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout);
    let text = String::from_utf8(output.unwrap_or_default()).unwrap_or_default();
    let line = text.lines().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or("unknown").trim();
    // The program's path is nobody's business.
    line.rsplit('/').nth(3).map_or_else(
        || line.split(" Copyright").next().unwrap_or(line).to_owned(),
        |_| version_of_envoy(line),
    )
}

/// `…/envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`
fn version_of_envoy(line: &str) -> String {
    let build = line.rsplit("version: ").next().unwrap_or(line);
    let mut parts = build.split('/').skip(1);
    let (version, kind) = (parts.next(), parts.nth(1));
    format!("Envoy {} ({})", version.unwrap_or("?"), kind.unwrap_or("?"))
}
