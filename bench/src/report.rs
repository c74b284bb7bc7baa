//! What is said in the end: tables for people, JSON for programs.

use crate::contest::Contest;
use crate::goal::Goal;
use crate::machine::Machine;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// What was to be reached.
    pub goals: Vec<Goal>,
    /// Speeds, side by side.
    pub contests: Vec<Contest>,
    /// Single figures: (what, value with unit).
    pub figures: Vec<(String, String)>,
    /// What a fleet asks of its registry, as Markdown.
    pub fleet: Option<String>,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(f, "| goal | demanded | measured | reached |")?;
        writeln!(f, "|---|---|---|---|")?;
        for goal in &self.goals {
            writeln!(f, "{goal}")?;
        }
        for contest in &self.contests {
            writeln!(f, "\n{contest}")?;
        }
        if !self.figures.is_empty() {
            writeln!(f, "\n| figure | |\n|---|---|")?;
            for (what, value) in &self.figures {
                writeln!(f, "| {what} | {value} |")?;
            }
        }
        if let Some(fleet) = &self.fleet {
            writeln!(f, "\n{fleet}")?;
        }
        Ok(())
    }
}

impl Display for Contest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| {} | requests a second of CPU time | requests/s | cores busy | p50 | p99 | CPU time of the first |",
            self.title
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        let first = self.entries.first().map_or("", |entry| &entry.name);
        for entry in &self.entries {
            let cost = self.ratio(first, &entry.name).median;
            writeln!(
                f,
                "| {} | {:.0} | {:.0} | {:.2} | {} | {} | × {cost:.2} |",
                entry.name,
                entry.median(|sample| sample.per_cpu_second),
                entry.median(|sample| sample.per_second),
                entry.median(|sample| sample.utilization),
                milliseconds(entry.median(|sample| sample.p50_us)),
                milliseconds(entry.median(|sample| sample.p99_us)),
            )?;
        }
        Ok(())
    }
}

fn milliseconds(microseconds: f64) -> String {
    if microseconds.is_nan() {
        "–".into()
    } else {
        format!("{:.2} ms", microseconds / 1e3)
    }
}
