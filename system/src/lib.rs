//! EDGE: what every program asks of the machine that it runs on: whether a file can be trusted, and whether the clock is
//! kept right.

pub mod clock;
pub mod trusted;
