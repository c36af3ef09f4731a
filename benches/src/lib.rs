//! What the benches share: a site with many people, OpenSSH's sshd to compare with, and how a figure is told.
//!
//! Needs root, as the lab of `wgmfa-tests` does. Everything runs in network namespaces and is gone when it is dropped.

pub mod client;
pub mod deadline;
pub mod figure;
pub mod pings;
pub mod process;
pub mod site;
pub mod sshd;
