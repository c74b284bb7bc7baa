//! The report as a Markdown table.

use super::{Outcome, Report, Row};
use std::fmt;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| scenario | | mean, calculated | mean, simulated | busiest second, calculated | busiest second, simulated |"
        )?;
        writeln!(f, "|---|---|---:|---:|---:|---:|")?;
        for outcome in &self.outcomes {
            let mut scenario = outcome.scenario;
            for row in &outcome.rows {
                write_row(f, scenario, row)?;
                scenario = "";
            }
        }
        writeln!(f, "\nRequests refused because no key was to be had:\n")?;
        for outcome in self.outcomes.iter().filter(|it| it.requests > 0) {
            let Outcome {
                scenario,
                requests,
                refused,
                ..
            } = outcome;
            writeln!(f, "- {scenario}: {refused} of {requests}")?;
        }
        Ok(())
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, scenario: &str, row: &Row) -> fmt::Result {
    let Row { phase, method, .. } = row;
    let comma = if phase.is_empty() { "" } else { ", " };
    let of_formula = |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), number);
    writeln!(
        f,
        "| {scenario} | {method}{comma}{phase} | {} | {} | {} | {} |",
        of_formula(row.calculated_mean),
        number(row.simulated.mean),
        of_formula(row.calculated_peak),
        number(row.simulated.peak),
    )
}

/// To three digits or so, thousands apart.
fn number(rate: f64) -> String {
    if rate < 10.0 {
        return format!("{rate:.2}");
    }
    let whole = rate.round() as u64;
    if whole < 1000 {
        whole.to_string()
    } else {
        format!("{},{:03}", whole / 1000, whole % 1000)
    }
}
