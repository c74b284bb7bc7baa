//! A process under measurement: pinned to a core, its CPU time and memory read from /proc, and
//! killed by its owner.

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a process may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// The core of what is measured, and the one of the load and all that stands in for the rest of the
/// world: the first that this process may use, and the first besides that is not the same core by
/// another name.
static CORES: LazyLock<(String, String)> = LazyLock::new(|| {
    let allowed = sched_getaffinity(None).expect("the cores of this process");
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let subject = allowed.next().expect("a core");
    let siblings = siblings(subject);
    let others: Vec<_> = allowed.collect();
    let other = others.iter().find(|core| !siblings.contains(core));
    let load = other.or(others.first()).copied();
    let load =
        load.unwrap_or_else(|| panic!("two cores are needed, and there is core {subject} only"));
    if siblings.contains(&load) {
        eprintln!(
            "cores {subject} and {load} are one core in hardware: the load slows what is measured"
        );
    }
    (subject.to_string(), load.to_string())
});

/// The core of what is measured.
pub fn subject_core() -> &'static str {
    &CORES.0
}

/// The core of the load, and of all that stands in for the rest of the world.
pub fn load_core() -> &'static str {
    &CORES.1
}

/// Both, for what is measured with two workers.
pub fn all_cores() -> String {
    format!("{},{}", CORES.0, CORES.1)
}

/// The numbers that the hardware threads of this core have; a list such as `0,4` or `0-1`.
fn siblings(core: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    let list = fs::read_to_string(path).unwrap_or_default();
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

/// A running process. Dropped, it is asked to end, and killed if it does not.
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
        let asked = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let end = Instant::now() + PATIENCE;
        while asked.is_ok() && self.ended().is_none() && Instant::now() < end {
            sleep(Duration::from_millis(5));
        }
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
