//! A histogram as Prometheus knows it: how many observations were at most so long.

use std::cell::{Cell, RefCell};

/// Durations in seconds, counted in buckets.
#[derive(Debug)]
pub struct Histogram {
    /// The upper ends of the buckets, rising.
    pub bounds: &'static [f64],
    /// How many observations fell into each bucket, and into none.
    buckets: RefCell<Vec<u64>>,
    sum: Cell<f64>,
}

impl Histogram {
    /// Nothing observed yet.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, buckets: RefCell::new(vec![0; bounds.len() + 1]), sum: Cell::new(0.0) }
    }

    /// Counts one duration.
    pub fn observe(&self, seconds: f64) {
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len());
        self.buckets.borrow_mut()[bucket] += 1;
        self.sum.set(self.sum.get() + seconds);
    }

    /// How many observations were at most as long as each bound; the last is the number of all.
    pub fn cumulative(&self) -> Vec<u64> {
        let mut so_far = 0;
        let add = |count: &u64| {
            so_far += count;
            so_far
        };
        self.buckets.borrow().iter().map(add).collect()
    }

    /// The sum of all observations, in seconds.
    pub fn sum(&self) -> f64 {
        self.sum.get()
    }
}
