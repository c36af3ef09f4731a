//! The gate: what lets a peer's addresses through to the networks of a tier, and holds everything else back.
//!
//! What a gate has to be is decided elsewhere ([`Layout`], [`Opening`]); here it is carried out, by nftables or by routing
//! rules, in the network namespace of the calling thread.

mod file;
mod flowtable;
mod ip_rule;
mod netlink;
mod nftables;
#[cfg(test)]
mod tests;

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use nix::time::ClockId;
use wgmfa_core::gate::{Addresses, Layout, Opening};
use wgmfa_core::name::TierName;

/// What carries the gate out. One per agent.
pub trait Gate: Send {
    /// Makes the whole gate as it should be, with all openings, in place of what stood there. Their time counts from now.
    ///
    /// # Errors
    /// The gate does not stand as asked, in words. What stood before is not opened by that.
    fn install(&mut self, layout: &Layout, openings: &[Opening]) -> Result<(), String>;

    /// Opens or prolongs these and closes those; all others are left untouched. What is in both lists is open.
    ///
    /// # Errors
    /// Why nothing of it was done, in words.
    fn change(&mut self, open: &[Opening], close: &[(Addresses, TierName)]) -> Result<(), String>;

    /// Whether the gate still stands as it was last to be made: where that failed before the kernel had it, it does not,
    /// though one from before may. Cheap while nobody has changed anything.
    ///
    /// # Errors
    /// What is not as it was made, in words.
    fn intact(&mut self) -> Result<(), String>;

    /// Becomes readable when somebody changes what the gate is made of; [`Gate::intact`] empties it.
    fn changed(&self) -> Option<BorrowedFd<'_>>;

    /// Takes the gate away.
    ///
    /// # Errors
    /// Why it still stands, in words.
    fn remove(&mut self) -> Result<(), String>;

    /// Why no grant can be held to its deadline although the gate stands, in words.
    fn bypassed(&mut self) -> Option<String>;
}

/// The ways to build a gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Backend {
    /// A table of nftables, whose elements end by themselves.
    #[default]
    Nftables,
    /// Routing rules, where there is no nftables. What they cannot do stands in the module of this name.
    IpRule,
}

/// A gate that nobody has installed yet. `state_dir` gets the file for the site's own ruleset.
///
/// # Errors
/// The kernel does not offer what it needs, or there is no right to use it, in words.
pub fn backend(kind: Backend, state_dir: &Path) -> Result<Box<dyn Gate>, String> {
    Ok(match kind {
        Backend::Nftables => Box::new(nftables::Nftables::new(state_dir)?),
        Backend::IpRule => Box::new(ip_rule::IpRule::new(state_dir)?),
    })
}

/// Time since the machine started, suspended or not.
fn now() -> Duration {
    // the clock exists since Linux 2.6.39
    ClockId::CLOCK_BOOTTIME.now().map(Duration::from).unwrap_or_default()
}
