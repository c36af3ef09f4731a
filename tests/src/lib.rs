//! The lab in which whole-system tests run: a laptop, a gateway and a bastion, each a network namespace, with real
//! WireGuard between laptop and gateway, the built programs, stock `ssh` and real libpam.
//!
//! Needs root. Everything a lab starts or makes is gone when it is dropped, also after a failed test. What fails here is a
//! failed test, so this crate panics, and says with what.

pub mod bastion;
pub mod code;
pub mod daemon;
pub mod gated;
pub mod gateway;
pub mod lab;
pub mod laptop;
pub mod machine;
pub mod pair;
pub mod ping;
pub mod program;
pub mod stream;
pub mod terminal;
pub mod tunnel;
pub mod wait;

pub use gated::Gated;
pub use lab::Lab;
pub use pair::Pair;
