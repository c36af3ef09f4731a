//! The configuration files: every key that the programs read.

mod agent;
mod bastion;
mod client;
mod module;
mod policy;

use crate::keys::File;

pub use self::agent::AGENT;
pub use self::bastion::BASTION;
pub use self::client::CLIENT;
pub use self::module::{MODULE, Module, SYNC};
pub use self::policy::POLICY;

/// All of them.
pub fn all() -> [File; 4] {
    [BASTION, AGENT, CLIENT, POLICY]
}
