//! What is to be reached, and whether it was.

use crate::contest::Ratio;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// A demand and what was measured.
#[derive(Debug, Serialize)]
pub struct Goal {
    what: String,
    demand: Demand,
    measured: f64,
    /// The smallest and the largest of the rounds, if there were several.
    spread: Option<(f64, f64)>,
    unit: &'static str,
    reached: bool,
}

/// A bound.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum Demand {
    /// Not below.
    AtLeast(f64),
    /// Not above.
    AtMost(f64),
}

impl Goal {
    /// About a ratio.
    pub fn ratio(what: impl Into<String>, demand: Demand, ratio: Ratio) -> Self {
        Self {
            spread: Some((ratio.least, ratio.most)),
            ..Self::figure(what, demand, ratio.median, "")
        }
    }

    /// About a figure with this unit.
    pub fn figure(
        what: impl Into<String>,
        demand: Demand,
        measured: f64,
        unit: &'static str,
    ) -> Self {
        let reached = match demand {
            Demand::AtLeast(bound) => measured >= bound,
            Demand::AtMost(bound) => measured <= bound,
        };
        Self {
            what: what.into(),
            demand,
            measured,
            spread: None,
            unit,
            reached,
        }
    }
}

impl Display for Goal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            demand,
            measured,
            spread,
            unit,
            reached,
        } = self;
        write!(f, "| {what} | {demand}{unit} | {measured:.2}{unit}")?;
        if let Some((least, most)) = spread {
            write!(f, " ({least:.2}–{most:.2})")?;
        }
        let verdict = if *reached { "yes" } else { "**no**" };
        write!(f, " | {verdict} |")
    }
}

impl Display for Demand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_at_its_bound() {
        for (demand, measured, verdict) in [
            (Demand::AtLeast(1.0), 1.0, "| yes |"),
            (Demand::AtLeast(1.0), 0.99, "| **no** |"),
            (Demand::AtMost(16.0), 16.0, "| yes |"),
            (Demand::AtMost(16.0), f64::NAN, "| **no** |"),
        ] {
            let goal = Goal::figure("bytes", demand, measured, " B");
            assert!(goal.to_string().ends_with(verdict), "{goal}");
        }
    }
}
