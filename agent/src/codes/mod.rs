//! Asking for one-time codes inside the tunnels: a TCP port on each interface whose peers are held back. It decides
//! nothing: who somebody is, what is open and whether a code was good is the agent's and the bastion's affair.

mod conversation;
mod listener;
mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use nix::net::if_::if_nametoindex;
use tokio::sync::{mpsc, oneshot};
use wgmfa_core::gate::{CodeVerdict, TierLeft};
use wgmfa_core::key::SecretText;
use wgmfa_core::name::{HostName, InterfaceName, TierName};
use wgmfa_core::tier::Tiers;

use self::listener::Port;
use self::places::Places;
use crate::agent::Caller;
use crate::config::Config;

/// A question of a conversation, for the agent.
pub struct Call {
    /// The interface on which it came.
    pub interface: InterfaceName,
    /// The address from which it came.
    pub address: IpAddr,
    /// What is asked.
    pub question: Question,
    /// The way back.
    pub answer: oneshot::Sender<Answer>,
}

/// What is asked.
pub enum Question {
    /// Who is that?
    Caller,
    /// What is open?
    Open,
    /// Is this code good for this tier?
    Code {
        /// The tier.
        tier: TierName,
        /// The code.
        code: SecretText,
    },
    /// Close everything.
    LogOut,
}

/// What the agent answers.
pub enum Answer {
    /// That is who it is.
    Caller(Caller),
    /// These tiers are open.
    Open(Vec<TierLeft>),
    /// What the bastion says, once the gate is as it says.
    Verdict(CodeVerdict),
    /// Everything is closed.
    LoggedOut,
    /// That cannot be answered, in words for whoever asks.
    Refused(String),
}

/// What every conversation needs.
struct Shared {
    host: HostName,
    tiers: Tiers,
    calls: mpsc::Sender<Call>,
    places: Places,
}

/// The ports on which codes are asked for.
pub struct Codes {
    shared: Arc<Shared>,
    port: u16,
    open: BTreeMap<InterfaceName, Port>,
    /// Why it listens not on every one of them, as last told.
    faults: BTreeMap<InterfaceName, String>,
}

impl Codes {
    /// No port is open yet; questions go to `calls`.
    pub fn new(config: &Config, calls: mpsc::Sender<Call>) -> Self {
        let (host, tiers) = (config.host.clone(), config.tiers.clone());
        let shared = Arc::new(Shared { host, tiers, calls, places: Places::default() });
        Self { shared, port: config.code_port, open: BTreeMap::new(), faults: BTreeMap::new() }
    }

    /// Listens on these interfaces, as far as they are there now, and on no others. What could not be done and was not
    /// told before comes back in words.
    pub fn follow(&mut self, interfaces: &BTreeSet<InterfaceName>) -> Vec<String> {
        // an interface that was made anew has another number, and nobody comes to the old port any more
        let index = |name: &InterfaceName| if_nametoindex(name.as_str()).ok();
        self.open.retain(|name, port| interfaces.contains(name) && index(name) == Some(port.index()));
        let mut news = Vec::new();
        for name in interfaces {
            let Some(index) = index(name).filter(|_| !self.open.contains_key(name)) else { continue };
            match Port::open(name, index, self.port, &self.shared) {
                Ok(port) => {
                    self.open.insert(name.clone(), port);
                    self.faults.remove(name);
                }
                Err(error) => {
                    let fault = format!(
                        "{name}: nobody can give a code: port {}: {}",
                        self.port,
                        error.to_string().to_lowercase()
                    );
                    if self.faults.insert(name.clone(), fault.clone()).as_ref() != Some(&fault) {
                        news.push(fault);
                    }
                }
            }
        }
        self.faults.retain(|name, _| interfaces.contains(name));
        news
    }
}
