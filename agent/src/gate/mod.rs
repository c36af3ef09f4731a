//! The gate: what lets a peer's addresses through to the networks of a tier.

use std::os::fd::BorrowedFd;
use std::path::Path;

use wgmfa_core::gate::{Addresses, Layout, Opening};
use wgmfa_core::name::TierName;

/// What carries the gate out. One per agent; acts in this network namespace.
pub trait Gate {
    /// Makes the whole gate as it should be, in one transaction: layout and all openings; replaces what stood there.
    /// Element timeouts count from now.
    ///
    /// # Errors
    /// Why it does not stand, in words.
    fn install(&mut self, layout: &Layout, openings: &[Opening]) -> Result<(), String>;
    /// Opens or prolongs these and closes those, in one transaction; others' are untouched.
    ///
    /// # Errors
    /// Why nothing was changed, in words.
    fn change(&mut self, open: &[Opening], close: &[(Addresses, TierName)]) -> Result<(), String>;
    /// Whether the gate that was last installed still stands whole (cheap; called each second and after a notification).
    ///
    /// # Errors
    /// Why it does not, in words.
    fn intact(&mut self) -> Result<(), String>;
    /// A descriptor that becomes readable when somebody changes the ruleset; drained by [`Gate::intact`].
    fn changed(&self) -> Option<BorrowedFd<'_>>;
    /// Takes the gate away (stand-down, no interface is gated any more).
    ///
    /// # Errors
    /// Why it still stands, in words.
    fn remove(&mut self) -> Result<(), String>;
    /// Why grants are refused although the gate stands (a flowtable bypasses it), in words.
    fn bypassed(&mut self) -> Option<String>;
}

/// Which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A table of nftables.
    Nftables,
    /// Routing tables and rules.
    IpRule,
}

/// Makes it.
///
/// # Errors
/// This machine cannot have it, in words.
pub fn backend(kind: Backend, state_dir: &Path) -> Result<Box<dyn Gate>, String> {
    let _ = (kind, state_dir);
    Err("no gate is built in".to_owned())
}
