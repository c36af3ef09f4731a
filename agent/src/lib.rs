//! What of `wgmfa-agent` others use too: the gate.

pub mod gate;
