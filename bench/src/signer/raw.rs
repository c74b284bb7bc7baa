//! How fast a core signs that does nothing else.

use crate::load::Sample;
use crate::process::{pin_this_thread, subject_core};
use crate::tokens::Key;
use aws_lc_rs::rand::SystemRandom;
use rustix::time::{ClockId, clock_gettime};
use std::thread;
use std::time::{Duration, Instant};

/// As many bytes as the signing input of a token that the signer makes here has.
const MESSAGE: &[u8] = &[b'x'; 260];

/// Signs on the subject's core for a second.
pub(super) fn sign(key: &Key) -> Sample {
    let signing = || {
        pin_this_thread(subject_core());
        let random = SystemRandom::new();
        let (started, cpu) = (Instant::now(), cpu_time());
        let mut count = 0_u32;
        while started.elapsed() < Duration::from_secs(1) {
            for _ in 0..16 {
                std::hint::black_box(key.sign(MESSAGE, &random));
            }
            count += 16;
        }
        let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_time() - cpu);
        Sample {
            requests: u64::from(count),
            per_second: f64::from(count) / seconds,
            per_cpu_second: f64::from(count) / cpu,
            utilization: cpu / seconds,
            p50_us: f64::NAN,
            p99_us: f64::NAN,
        }
    };
    thread::scope(|scope| scope.spawn(signing).join().expect("a thread"))
}

/// Of this thread, in seconds.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
