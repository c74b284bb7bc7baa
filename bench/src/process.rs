//! A process under measurement: pinned to a core, its CPU time and memory read from /proc, and
//! killed by its owner.

use rustix::thread::{CpuSet, sched_setaffinity};
use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The core of what is measured.
pub const SUBJECT_CORE: &str = "0";

/// The core of the load, and of all that stands in for the rest of the world.
pub const LOAD_CORE: &str = "1";

/// Both, for what is measured with two workers.
pub const ALL_CORES: &str = "0,1";

/// A running process. Dropped, it is killed.
pub struct Process(Child);

impl Process {
    /// Starts `command` on these cores, as `taskset` names them; what it says goes to `log`.
    pub fn start_logging(cores: &str, command: &Command, log: File) -> Self {
        let child = pinned(cores, command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// CPU time of all its threads, so far.
    pub fn cpu_time(&self) -> Duration {
        let tasks = format!("/proc/{}/task", self.0.id());
        let tasks = fs::read_dir(tasks).expect("a running process").flatten();
        let nanoseconds = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Resident memory, in bytes.
    pub fn resident_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        let status = status.expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kilobytes
            .and_then(|kb| kb.parse::<u64>().ok())
            .expect("a number")
            << 10
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Pins the calling thread to one core.
pub fn pin_this_thread(core: &str) {
    let mut cores = CpuSet::new();
    cores.set(core.parse().expect("one core"));
    sched_setaffinity(None, &cores).expect("a core of this machine");
}

/// `command` on these cores.
pub fn pinned(cores: &str, command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned
        .args(["--cpu-list", cores])
        .arg(command.get_program());
    pinned.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => pinned.env(name, value),
            None => pinned.env_remove(name),
        };
    }
    pinned
}
