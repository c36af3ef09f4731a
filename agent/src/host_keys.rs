//! The bastion changes its SSH host key, and this host follows: it learns the next key over a connection that was
//! authenticated with the one that it knows, and forgets the old one when the bastion has retired it.

use std::path::PathBuf;

use russh::keys::{HashAlg, PublicKey};
use wgmfa_core::exit::sanitise;
use wgmfa_core::known_hosts::{MOST_KEYS, learn};
use wgmfa_system::trusted::{self, Readers};

use crate::config::{Address, Config};
use crate::ssh::{one_line, read_known_keys};
use crate::voice;

/// What is needed to follow the bastion to another key.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    bastion: Address,
    /// The key with which the bastion has proved itself on this connection.
    in_use: String,
    /// What could not be done and was said.
    complained: bool,
}

impl Follower {
    /// For a connection on which the bastion has proved itself with this key.
    pub fn new(config: &Config, in_use: String) -> Self {
        Self { path: config.known_hosts.clone(), bastion: config.bastion.clone(), in_use, complained: false }
    }

    /// Takes over what the bastion announces, a line on standard output for each change. Answers with the keys that are
    /// known now, if the bastion wants to hear that: it has more than one, or there was something to change.
    pub fn follow(&mut self, announced: &[String]) -> Option<Vec<String>> {
        let announced: Vec<String> = announced.iter().take(MOST_KEYS).filter_map(|line| plain(line)).collect();
        if announced.is_empty() {
            return None;
        }
        match self.follow_to(&announced) {
            Ok(changed) if !changed && announced.len() == 1 => None,
            Ok(_) => self.known().ok(),
            Err(why) => {
                if !std::mem::replace(&mut self.complained, true) {
                    voice::note(&format!("warning: the bastion announces another SSH host key: {why}"));
                }
                self.known().ok()
            }
        }
    }

    fn follow_to(&self, announced: &[String]) -> Result<bool, String> {
        let shown = self.path.display();
        let text = trusted::read_text(&self.path, Readers::Anyone).map_err(|failure| failure.error)?;
        let name = self.bastion.to_string();
        let Some(learned) = learn(&text, &[&name], &self.known()?, &self.in_use, announced) else { return Ok(false) };
        trusted::replace_for(&self.path, learned.text.as_bytes(), 0o644)
            .map_err(|error| format!("{shown}: {}", error.to_string().to_lowercase()))?;
        for (what, keys) in [("learned", &learned.added), ("forgot", &learned.removed)] {
            for key in keys {
                voice::say(&sanitise(&format!("{shown}: {what} a host key of the bastion: {}", fingerprint(key))));
            }
        }
        Ok(true)
    }

    fn known(&self) -> Result<Vec<String>, String> {
        let keys = read_known_keys(&self.path, &self.bastion.host, self.bastion.port);
        Ok(keys.map_err(|failure| failure.error)?.iter().map(one_line).collect())
    }
}

/// A key as it is written here, if it is one that this program can compare.
fn plain(line: &str) -> Option<String> {
    PublicKey::from_openssh(line).ok().map(|key| one_line(&key))
}

fn fingerprint(key: &str) -> String {
    PublicKey::from_openssh(key).map(|key| key.fingerprint(HashAlg::Sha256).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::identity;

    fn key() -> String {
        let key = identity::make(&"app-gw".parse().unwrap());
        one_line(russh::keys::PrivateKey::from_openssh(key.as_bytes()).unwrap().public_key())
    }

    fn follower(path: &Path, in_use: &str) -> Follower {
        let mut config = Config::parse(Path::new("/e"), "bastion = \"b:2222\"\nhost = \"app-gw\"\n").unwrap();
        config.known_hosts = path.to_owned();
        Follower::new(&config, in_use.to_owned())
    }

    #[test]
    fn the_file_follows_the_bastion_and_the_bastion_hears_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        let (old, new) = (key(), key());
        std::fs::write(&path, format!("other {old}\n[b]:2222 {old}\n")).unwrap();
        let both = vec![old.clone(), new.clone()];

        assert_eq!(follower(&path, &old).follow(std::slice::from_ref(&old)), None);
        assert_eq!(follower(&path, &old).follow(&both), Some(both.clone()));
        assert_eq!(follower(&path, &old).follow(&both), Some(both), "it is told again to a bastion that has forgotten");
        assert_eq!(follower(&path, &new).follow(std::slice::from_ref(&new)), Some(vec![new.clone()]));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("other {old}\n[b]:2222 {new}\n"));
    }

    #[test]
    fn what_is_no_key_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        let old = key();
        let text = format!("[b]:2222 {old}\n");
        std::fs::write(&path, &text).unwrap();
        let evil = format!("{old}\n* {}", key());
        for line in ["", "hello", "ssh-ed25519 AAAA", &evil] {
            let known = follower(&path, &old).follow(&[old.clone(), line.to_owned()]);
            assert!(known.is_none_or(|known| known == [old.clone()]), "{line}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{line}");
        }
    }
}
