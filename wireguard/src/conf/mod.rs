//! The places where an interface is configured: files of `wg-quick(8)`, of systemd-networkd and of NetworkManager. Read, one
//! preshared key changed, written back with every other byte kept.
//!
//! ```no_run
//! # use wgmfa_core::{exit::Failure, key::{PresharedKey, PublicKey}, name::InterfaceName};
//! # use wgmfa_wireguard::conf::{Configuration, Folders};
//! # fn lock(name: &InterfaceName, peer: &PublicKey, lock_key: &PresharedKey) -> Result<(), Failure> {
//! if let Some(mut configuration) = Configuration::open(&Folders::default(), name)? {
//!     configuration.set_preshared_key(peer, lock_key)?;
//!     configuration.write()?; // true: it was changed on disk
//! }
//! # Ok(())
//! # }
//! ```

mod attributes;
mod configuration;
mod folders;
mod format;
mod key_file;
mod line;
mod networkd;
mod networkmanager;
mod section;
mod stored;
mod text;

pub use configuration::Configuration;
pub use folders::Folders;
pub use format::Format;
pub use text::{ConfigFile, NotSet};

#[cfg(test)]
mod tests;
