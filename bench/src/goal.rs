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
    reached: Verdict,
}

/// Whether a goal is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Verdict {
    Yes,
    No,
    /// Some rounds reach it and some do not: another run could say either.
    OnTheEdge,
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
        let verdicts = [ratio.least, ratio.median, ratio.most].map(|one| demand.verdict(one));
        let agree = verdicts.iter().all(|one| *one == verdicts[0]);
        Self {
            spread: Some((ratio.least, ratio.most)),
            reached: if agree {
                verdicts[0]
            } else {
                Verdict::OnTheEdge
            },
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
        Self {
            what: what.into(),
            demand,
            measured,
            spread: None,
            unit,
            reached: demand.verdict(measured),
        }
    }
}

impl Demand {
    fn verdict(self, measured: f64) -> Verdict {
        let reached = match self {
            Self::AtLeast(bound) => measured >= bound,
            Self::AtMost(bound) => measured <= bound,
        };
        if reached { Verdict::Yes } else { Verdict::No }
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
        write!(f, " | {reached} |")
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "yes",
            Self::No => "**no**",
            Self::OnTheEdge => "on the edge",
        })
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

    #[test]
    fn rounds_that_disagree_decide_nothing() {
        for (rounds, verdict) in [
            ([0.9, 1.0, 1.1], "| yes |"),
            ([1.0, 1.1, 1.2], "| on the edge |"),
            ([1.2, 1.3, 1.3], "| **no** |"),
        ] {
            let ratio = Ratio::of(rounds.into_iter());
            let goal = Goal::ratio("cost", Demand::AtMost(1.1), ratio);
            assert!(goal.to_string().ends_with(verdict), "{goal}");
        }
    }
}
