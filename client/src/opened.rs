//! Tiers that a login has opened: the firewall of a gateway lets this device through, and nothing changes here for that.

use std::path::PathBuf;

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use wgmfa_core::boottime::Boottime;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::PublicKey;
use wgmfa_core::message::sync::{GrantedTier, PolicyRef};
use wgmfa_core::name::{InterfaceName, TierName};
use wgmfa_core::state::KeyState;

use crate::clock;
use crate::order::short;
use crate::sessions::{FOLDER, Locked};
use crate::voice::foreign;

/// A tier that a gateway's firewall has opened: nothing is to be changed here for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The connection's name.
    pub connection: String,
    /// The tier.
    pub tier: TierName,
    /// The policy.
    pub policy: PolicyRef,
    /// The state's name, as the bastion has it.
    pub state: String,
    /// How long it was open when that was said.
    pub seconds_left: u64,
    /// Why the gateway does not let this device through yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

impl Opened {
    /// What the bastion says, cleaned.
    pub fn of(granted: &GrantedTier) -> Self {
        Self {
            connection: foreign(&granted.connection),
            tier: granted.tier.clone(),
            policy: PolicyRef { description: foreign(&granted.policy.description), ..granted.policy.clone() },
            state: foreign(&granted.state),
            seconds_left: granted.seconds_left,
            waits: granted.waits.as_deref().map(foreign),
        }
    }

    /// How it stands with so much left.
    pub fn standing(&self, seconds_left: u64) -> KeyState {
        match seconds_left {
            0 => KeyState::Expired,
            _ if self.state == KeyState::Pending.name() => KeyState::Pending,
            _ => KeyState::Ok,
        }
    }

    /// `app-gw/devices: OK, 60 min left (until 15:55), policy 101 Prod User Devices, tier prod`
    pub fn line(&self, received: Boottime) -> String {
        let Self { connection, tier, policy: PolicyRef { ordinal, description, .. }, state, .. } = self;
        let left = clock::left_of(self.seconds_left, received);
        let why = self.waits.as_ref().map_or(String::new(), |why| format!("; {why}"));
        format!("{}: {state}, {left}, policy {ordinal} {description}, tier {tier}{why}", short(connection))
    }
}

/// A tier that is open for one of this machine's public keys.
#[derive(Debug, Clone)]
pub struct OpenedFor {
    /// The public key of this machine's interface.
    pub public_key: PublicKey,
    /// The gateway.
    pub peer: PublicKey,
    /// The tier.
    pub opened: Opened,
}

impl OpenedFor {
    /// What the bastion says.
    pub fn of(granted: &GrantedTier) -> Self {
        Self { public_key: granted.public_key, peer: granted.peer_public_key, opened: Opened::of(granted) }
    }
}

/// Where a person without rights keeps what `status` is to know; none: the person has not logged in here.
pub fn folder_of_the_person() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR")
        .filter(|path| !path.is_empty())
        .map(|path| PathBuf::from(path).join("wgmfa-client"))
}

/// Leaves behind for `status` what was opened, where the person may write.
///
/// # Errors
/// There is no such place.
pub fn remember(opened: &[OpenedFor], interface: &InterfaceName, received: Boottime) -> Result<(), Failure> {
    let Some(first) = opened.first() else { return Ok(()) };
    let failed = |why: String| Failure::new(Exit::Failed, why);
    let folder = own_folder().ok_or_else(|| failed("XDG_RUNTIME_DIR is not set".to_owned()))?;
    let boot_id = clock::boot_id().map_err(|error| failed(format!("boot id: {error}")))?;
    let locked = Locked::wait(&folder)?;
    let mut sessions = locked.load(interface, &first.public_key, &boot_id);
    for one in opened.iter().filter(|one| one.public_key == first.public_key) {
        sessions.remember_tier(one.peer, &one.opened, received);
    }
    locked.save(&sessions).map_err(|error| failed(format!("{}: {error}", folder.display())))
}

/// Notes for `status` which connections the same login was refused, where the person may write and has something there.
///
/// # Errors
/// It cannot be noted.
pub fn forget(refused: &[String], received: Boottime) -> Result<(), Failure> {
    let Some(folder) = own_folder().filter(|folder| !refused.is_empty() && folder.exists()) else { return Ok(()) };
    let failed = |error| Failure::new(Exit::Failed, format!("{}: {error}", folder.display()));
    Locked::wait(&folder)?.end(refused, received).map_err(failed)
}

fn own_folder() -> Option<PathBuf> {
    if geteuid().is_root() { Some(FOLDER.into()) } else { folder_of_the_person() }
}
