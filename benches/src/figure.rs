//! Figures: what was measured, against what, and whether the bound is reached.

use std::fmt;
use std::process::ExitCode;

/// What a number counts.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// KiB of 1024 bytes.
    Kibibytes,
}

/// What must not be more than this.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// Nothing: the figure is a part of another one.
    None,
    /// The median.
    Median(f64),
    /// The median of the ratios, each sample against the one that was taken right after it from the other side.
    Ratio(f64),
}

/// Samples of one thing, perhaps beside those of another.
#[derive(Debug)]
pub struct Figure<'a> {
    /// What was measured.
    pub name: &'a str,
    /// What the samples count.
    pub unit: Unit,
    /// The samples.
    pub samples: Vec<f64>,
    /// What it is compared with, and as many samples of that.
    pub against: Option<(&'a str, Vec<f64>)>,
    /// What must be reached.
    pub bound: Bound,
}

/// Tells figures, a line each, and remembers whether a bound was missed.
#[derive(Debug, Default)]
pub struct Report {
    missed: bool,
}

impl Report {
    /// Tells one figure.
    #[allow(clippy::print_stdout, reason = "the one voice of the benches")]
    pub fn tell(&mut self, figure: &Figure<'_>) {
        self.missed |= figure.misses();
        println!("{figure}");
    }

    /// Tells something that is no figure.
    #[allow(clippy::print_stdout, reason = "the one voice of the benches")]
    pub fn note(&self, text: &str) {
        println!("{text}");
    }

    /// Status 1 if a bound was missed.
    pub fn exit(&self) -> ExitCode {
        if self.missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

impl Figure<'_> {
    fn ratios(&self) -> Option<Vec<f64>> {
        let (_, others) = self.against.as_ref()?;
        assert_eq!(others.len(), self.samples.len(), "{}: samples come in pairs", self.name);
        Some(self.samples.iter().zip(others).map(|(ours, theirs)| ours / theirs).collect())
    }

    fn misses(&self) -> bool {
        match self.bound {
            Bound::None => false,
            Bound::Median(most) => median(&self.samples) > most,
            Bound::Ratio(most) => median(&self.ratios().expect("a ratio has two sides")) > most,
        }
    }
}

impl fmt::Display for Figure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, digits) = match self.unit {
            Unit::Milliseconds => (" ms", 2),
            Unit::Kibibytes => (" KiB", 1),
        };
        write!(f, "{}: {}", self.name, Spread(&self.samples, unit, digits))?;
        if let (Some((name, others)), Some(ratios)) = (&self.against, self.ratios()) {
            write!(f, "; {name}: {}", Spread(others, unit, digits))?;
            write!(f, "; ratio {}", Spread(&ratios, "", 3))?;
        }
        write!(f, "; {} samples", self.samples.len())?;
        let verdict = if self.misses() { "MISSED" } else { "reached" };
        match self.bound {
            Bound::None => Ok(()),
            Bound::Median(most) => write!(f, "; bound {most}{unit}: {verdict}"),
            Bound::Ratio(most) => write!(f, "; bound {most}: {verdict}"),
        }
    }
}

/// Median, least and most.
struct Spread<'a>(&'a [f64], &'a str, usize);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(samples, unit, digits) = *self;
        let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
        let most = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        write!(f, "{:.digits$}{unit} ({least:.digits$} to {most:.digits$})", median(samples))
    }
}

/// The middle one; of two middle ones, half their sum.
fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_tells_its_spread_its_ratio_and_its_bound() {
        let mut figure = Figure {
            name: "login",
            unit: Unit::Milliseconds,
            samples: vec![90.0, 120.0, 100.0],
            against: Some(("sshd", vec![300.0, 200.0, 250.0])),
            bound: Bound::Ratio(0.5),
        };
        assert_eq!(
            figure.to_string(),
            "login: 100.00 ms (90.00 to 120.00); sshd: 250.00 ms (200.00 to 300.00); ratio 0.400 (0.300 to 0.600); \
             3 samples; bound 0.5: reached"
        );
        figure.bound = Bound::Median(99.0);
        assert!(figure.to_string().ends_with("; bound 99 ms: MISSED"));
        let mut report = Report::default();
        report.missed |= figure.misses();
        assert!(report.missed);
    }

    #[test]
    fn half_the_samples_lie_on_each_side_of_the_median() {
        assert!((median(&[4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }
}
