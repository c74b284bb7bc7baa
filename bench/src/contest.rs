//! Contenders measured in turn, round after round, so that whatever else the machine does hits all
//! of them alike.

use crate::load::Sample;
use serde::Serialize;
use std::collections::BTreeSet;

/// Somebody who is measured.
pub struct Contender<'a> {
    name: String,
    run: Box<dyn FnMut() -> Sample + 'a>,
}

impl<'a> Contender<'a> {
    /// `run` measures once.
    pub fn new(name: impl Into<String>, run: impl FnMut() -> Sample + 'a) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// What all rounds have shown.
#[derive(Debug, Serialize)]
pub struct Contest {
    /// What it was about.
    pub title: &'static str,
    /// Each contender with its samples, one a round.
    pub entries: Vec<Entry>,
}

/// One contender's samples.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Who.
    pub name: String,
    /// One a round.
    pub samples: Vec<Sample>,
}

/// A ratio of two contenders' speeds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ratio {
    /// The median of the rounds' ratios.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Contest {
    /// Measures everybody in each round, each round beginning with another one. The first round
    /// warms up and does not count.
    pub fn hold(title: &'static str, rounds: usize, mut contenders: Vec<Contender<'_>>) -> Self {
        eprintln!("{title}: {rounds} rounds");
        let names: BTreeSet<_> = contenders.iter().map(|one| &one.name).collect();
        assert_eq!(names.len(), contenders.len(), "two of one name: {names:?}");
        let mut entries: Vec<_> = contenders
            .iter()
            .map(|contender| Entry {
                name: contender.name.clone(),
                samples: Vec::new(),
            })
            .collect();
        for round in 0..=rounds {
            for turn in 0..contenders.len() {
                let index = (round + turn) % contenders.len();
                let sample = (contenders[index].run)();
                if round > 0 {
                    entries[index].samples.push(sample);
                }
                eprintln!(
                    "  {round}/{rounds} {:<48} {:>7.0} requests/s of CPU time, {:>7.0}/s",
                    contenders[index].name, sample.per_cpu_second, sample.per_second
                );
            }
        }
        Self { title, entries }
    }

    /// The median of one of a contender's figures.
    pub fn median(&self, name: &str, figure: impl Fn(&Sample) -> f64) -> f64 {
        self.entry(name).median(figure)
    }

    fn entry(&self, name: &str) -> &Entry {
        let entry = self.entries.iter().find(|entry| entry.name == name);
        entry.unwrap_or_else(|| panic!("no contender {name:?}"))
    }

    /// How many times as fast `name` is as `other`, by the CPU time that a request takes.
    pub fn ratio(&self, name: &str, other: &str) -> Ratio {
        self.ratio_of(name, other, |sample| sample.per_cpu_second)
    }

    /// How many times as much `name` has of a figure as `other`.
    pub fn ratio_of(&self, name: &str, other: &str, figure: impl Fn(&Sample) -> f64) -> Ratio {
        let pairs = self
            .entry(name)
            .samples
            .iter()
            .zip(&self.entry(other).samples);
        Ratio::of(pairs.map(|(a, b)| figure(a) / figure(b)))
    }
}

impl Ratio {
    /// Of the rounds' ratios.
    pub fn of(ratios: impl Iterator<Item = f64>) -> Self {
        let mut ratios: Vec<_> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        Self {
            median: median(&ratios),
            least: ratios.first().copied().unwrap_or(f64::NAN),
            most: ratios.last().copied().unwrap_or(f64::NAN),
        }
    }
}

impl Entry {
    /// The median of one of the samples' figures.
    pub fn median(&self, figure: impl Fn(&Sample) -> f64) -> f64 {
        let mut figures: Vec<_> = self.samples.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        median(&figures)
    }
}

/// Of sorted numbers.
pub fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted) {
        (_, []) => f64::NAN,
        (1, _) => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_median_of_its_rounds() {
        let ratio = Ratio::of([3.0, 1.0, 1.5].into_iter());
        assert_eq!((ratio.least, ratio.median, ratio.most), (1.0, 1.5, 3.0));
        assert_eq!(median(&[1.0, 2.0]), 1.5);
        assert!(median(&[]).is_nan());
    }
}
