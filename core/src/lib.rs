//! What wgmfa decides, and nothing else: names, keys, policies, rotation, release, one-time codes, tiers, messages.
//!
//! This crate touches no file, socket, clock, environment, process or source of randomness. Time and random bytes are
//! arguments; the programs around it (the edges) read the world, ask this crate, and carry out the answer.

pub mod ancestry;
pub mod boottime;
pub mod code;
pub mod connection;
pub mod diagnostic;
pub mod document;
pub mod exit;
pub mod explain;
pub mod findings;
pub mod gate;
pub mod guessing;
pub mod interval;
pub mod inventory;
pub mod key;
pub mod known_hosts;
pub mod login;
pub mod message;
pub mod name;
pub mod order;
pub mod password;
pub mod policy;
pub mod release;
pub mod rotation;
pub mod standing;
pub mod state;
pub mod tandem;
mod text;
pub mod tier;
pub mod turns;
pub mod version;
pub mod words;
