//! `make bench`: what the verifier and the signer cost, side by side with what they could be
//! replaced by, in one run.
//!
//! Speeds are compared by the CPU time that a request takes in the process under measurement: the
//! load runs on another core, and what it is waited for does not count.

#![expect(clippy::expect_used, reason = "what fails here fails the run")]

use clap::{Parser, ValueEnum};
use jwtproxy_bench::fleet;
use jwtproxy_bench::machine::Machine;
use jwtproxy_bench::report::Report;
use jwtproxy_bench::{signer, verifier};
use std::fs;
use std::path::PathBuf;

/// Measures jwtproxy beside what it could be replaced by.
#[derive(Parser)]
struct Arguments {
    /// What to measure; all of it if nothing is parts.
    parts: Vec<Part>,
    /// Instead: measures these builds of the filter beside each other.
    #[arg(long, num_args = 1.., conflicts_with = "parts")]
    compare: Vec<PathBuf>,
    /// Rounds in which everybody has a turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Nonces that are live in the costly case; fewer make a quick look quicker.
    #[arg(long, default_value_t = 1_000_000)]
    nonces: usize,
    /// Where to write report.md and report.json.
    #[arg(long, default_value = "build/bench")]
    out: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The filter in Envoy.
    Verifier,
    /// The sidecar.
    Signer,
    /// Ten thousand proxies and one registry, simulated.
    Fleet,
}

fn main() {
    let Arguments {
        parts,
        compare,
        rounds,
        nonces,
        out,
    } = Arguments::parse();
    let wanted = |part: &Part| parts.is_empty() || parts.contains(part);
    let mut report = Report {
        machine: Machine::this(),
        goals: Vec::new(),
        contests: Vec::new(),
        figures: Vec::new(),
        fleet: None,
    };
    // After each part: what fails later takes nothing with it.
    let write = |report: &Report| {
        let json = serde_json::to_string_pretty(report).expect("JSON");
        fs::create_dir_all(&out).expect("a folder");
        fs::write(out.join("report.json"), json).expect("a file");
        fs::write(out.join("report.md"), report.to_string()).expect("a file");
    };
    if !compare.is_empty() {
        verifier::compare(&compare, rounds, &mut report);
        write(&report);
    } else {
        for part in Part::value_variants().iter().filter(|part| wanted(part)) {
            match part {
                Part::Verifier => verifier::measure(rounds, nonces, &mut report),
                Part::Signer => signer::measure(rounds, &mut report),
                Part::Fleet => {
                    eprintln!("simulating a fleet (two to three minutes)");
                    report.fleet = Some(fleet::report().to_string());
                }
            }
            write(&report);
        }
    }
    println!("{report}");
    eprintln!("written to {}", out.display());
}
