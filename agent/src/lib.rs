//! What of `wgmfa-agent` other crates reach: the gate, for the benches.

pub mod gate;
