//! The bastion's SSH host keys as the hosts know them: what is announced, and who knows which.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Parser;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::SecretText;
use wgmfa_core::known_hosts::MOST_KEYS;
use wgmfa_core::message::front::ToFront;
use wgmfa_core::name::HostName;
use wgmfa_system::trusted::{self, Readers};

use super::Keeper;
use super::agent::Ask;
use super::person::Said;
use crate::config::Config;
use crate::host_key;
use crate::host_key::change::Beside;

/// What a person asks for.
pub const COMMAND: &str = "wgmfa-host-key";

/// Its words.
#[derive(Debug, Parser)]
#[command(
    name = COMMAND,
    about = "Prints the lines by which known_hosts knows this bastion, the next key's among them when it is going to change",
    after_help = "Example:\n  ssh bastion wgmfa-host-key bastion.example.net >> ~/.ssh/known_hosts",
    disable_version_flag = true
)]
struct Words {
    /// The name or address by which you know the bastion, without a port [default: the bastion's own name]
    #[arg(value_name = "NAME", value_parser = host_name)]
    name: Option<String>,
}

/// What may stand in front of a key: nothing that would make another line, pattern or marker of it.
fn host_name(text: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'%');
    let is_one = !text.is_empty() && text.len() <= 255 && text.bytes().all(plain);
    if is_one { Ok(text.to_owned()) } else { Err("a name or an address, without a port") }
}

/// `wgmfa-host-key`, for anybody who has logged in: over a connection that the key in use authenticates.
pub fn for_a_person(keeper: &Keeper, words: &[String]) -> Said {
    let asked = match Words::try_parse_from(words) {
        Ok(asked) => asked,
        Err(error) => return Said::usage(&error, COMMAND),
    };
    match host_key::known_hosts(&keeper.config, &asked.name.unwrap_or_else(host_key::machine_name)) {
        Ok(lines) => Said::done(lines),
        Err(failure) => Said::failure(&failure, COMMAND),
    }
}

/// What is announced, and what hosts have said of it in this run of the keeper.
#[derive(Debug, Default)]
pub struct HostKeys {
    announced: RefCell<Vec<String>>,
    known: RefCell<BTreeMap<HostName, BTreeSet<String>>>,
    /// The conversations of agents that began with a key that is not in use any more.
    with_old: RefCell<BTreeSet<u64>>,
    /// The versions of the hosts' programs.
    programs: RefCell<BTreeMap<HostName, String>>,
}

impl HostKeys {
    /// Announces these from now on.
    pub fn announce(&self, keys: Vec<String>) {
        *self.announced.borrow_mut() = keys;
    }

    /// What is announced.
    pub fn announced(&self) -> Vec<String> {
        self.announced.borrow().clone()
    }

    /// A host has said which keys it knows.
    pub fn heard(&self, host: &HostName, keys: Vec<String>) {
        let keys = keys.into_iter().take(MOST_KEYS).filter(|key| self.announced.borrow().contains(key)).collect();
        self.known.borrow_mut().insert(host.clone(), keys);
    }

    /// Whether a host has said that it knows a key.
    pub fn is_known(&self, host: &HostName, key: &str) -> bool {
        self.known.borrow().get(host).is_some_and(|keys| keys.contains(key))
    }

    /// A host has said which version its program is of.
    pub fn heard_version(&self, host: &HostName, version: Option<String>) {
        let mut programs = self.programs.borrow_mut();
        match version {
            Some(version) => programs.insert(host.clone(), version),
            None => programs.remove(host),
        };
    }

    /// Which version a host's program is of, if it has said so.
    pub fn version(&self, host: &HostName) -> Option<String> {
        self.programs.borrow().get(host).cloned()
    }
}

/// The private host keys, for the front.
///
/// # Errors
/// One of them cannot be read.
pub fn private(config: &Config) -> Result<Vec<SecretText>, Failure> {
    let read = |path: &PathBuf| {
        let text = trusted::read(path, Readers::Owner)?;
        let text = std::str::from_utf8(&text);
        let text =
            text.map_err(|_| Failure::new(Exit::Usage, format!("{}: not an SSH private key", path.display())))?;
        Ok(SecretText::new(text.to_owned()))
    };
    config.host_keys.iter().map(read).collect()
}

impl Keeper {
    /// Takes the host keys anew after an administrator has changed them: the front shows those in use to whoever comes from
    /// now on, and every connected agent is told.
    ///
    /// # Errors
    /// One of them cannot be read: then all stays as it is.
    pub(super) fn take_host_keys(&self) -> Result<(), Failure> {
        let (host_keys, announced) = (private(&self.config)?, host_key::announced(&self.config)?);
        // those in use are announced first
        let in_use = |keys: &[String]| keys.iter().take(self.config.host_keys.len()).cloned().collect::<Vec<_>>();
        let switched = in_use(&announced) != in_use(&self.host_keys.announced());
        self.host_keys.announce(announced);
        self.to_front(&ToFront::HostKeys { host_keys });
        let links = self.links.borrow();
        if switched {
            self.host_keys.with_old.borrow_mut().extend(links.values().map(|link| link.conversation));
        }
        let retired = Beside::look(&self.config)?.old.is_empty();
        let with_old = if retired { self.host_keys.with_old.take() } else { BTreeSet::new() };
        for link in links.values().filter(|link| link.resident) {
            // whoever came by the old key forgets it when the new one has proved itself on a connection
            let _ = link.asks.send(match with_old.contains(&link.conversation) {
                true => Ask::HangUp("the host key by which this connection began is retired; come again".to_owned()),
                false => Ask::Round("the bastion's host keys have changed".to_owned()),
            });
        }
        Ok(())
    }
}
