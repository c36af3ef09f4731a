//! `client.toml`: what a person would otherwise type each time. The person's own file goes over the site's, key by key.

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use nix::unistd::geteuid;
use wgmfa_core::diagnostic::Faults;
use wgmfa_core::document::Document;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::interval::Interval;
use wgmfa_core::name::{DeviceName, InterfaceName};

use crate::bastion::Bastion;
use crate::code::gateway::Gateway;
use crate::person::Person;

/// The site's file.
const OF_THE_SITE: &str = "/etc/wgmfa/client.toml";
/// The person's file, under the home folder.
const OF_THE_PERSON: &str = ".config/wgmfa/client.toml";

/// What the files say; each key may be absent.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Where to log in.
    pub bastion: Option<Bastion>,
    /// The gateway that asks for a code inside the tunnel.
    pub gateway: Option<Gateway>,
    /// Only this interface.
    pub interface: Option<InterfaceName>,
    /// Whether `sync` also writes the keys where the interface is configured.
    pub save: Option<bool>,
    /// Whether `sync` writes no key, and so needs no right to change an interface.
    pub tiers_only: Option<bool>,
    /// The device whose keys are wanted.
    pub device: Option<DeviceName>,
    /// For ssh.
    pub ssh_options: Option<Vec<OsString>>,
    /// How long before its end `status` takes a session for over.
    pub warn_before: Option<Interval>,
    /// Where a login may go past a tunnel; none: anywhere. Only the site's own word counts.
    pub way_around: Option<Vec<IpNet>>,
}

impl Config {
    /// What holds for this person; with `named`, that file alone, and it must be there. What the person keeps or names is
    /// read with the person's own rights: a fault shows lines of the file, and behind sudo it could be one of root's.
    ///
    /// # Errors
    /// A file that cannot be read, that others could have written, or every fault of its content.
    pub fn load(named: Option<&Path>, person: Option<&Person>) -> Result<Self, Failure> {
        let read_own = |path: &Path| match person {
            Some(person) => person.with_own_files(|| Self::read(path, Some(person))),
            None => Self::read(path, None),
        };
        if let Some(path) = named {
            let missing = || Failure::new(Exit::Usage, format!("{}: no such file", path.display()));
            return read_own(path)?.ok_or_else(missing);
        }
        let own: Option<PathBuf> = person.map(|person| person.home().join(OF_THE_PERSON));
        let own = own.map(|path| read_own(&path)).transpose()?.flatten().unwrap_or_default();
        let site = Self::read(Path::new(OF_THE_SITE), person)?.unwrap_or_default();
        Ok(own.over(site))
    }

    /// What the site's file alone says, for what is done with root's rights.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn of_the_site() -> Result<Self, Failure> {
        Ok(Self::read(Path::new(OF_THE_SITE), None)?.unwrap_or_default())
    }

    /// Whether a login may go past a tunnel to this address.
    pub fn may_go_around_to(&self, address: IpAddr) -> bool {
        self.way_around.as_ref().is_none_or(|networks| networks.iter().any(|network| network.contains(&address)))
    }

    fn over(self, below: Self) -> Self {
        Self {
            bastion: self.bastion.or(below.bastion),
            gateway: self.gateway.or(below.gateway),
            interface: self.interface.or(below.interface),
            save: self.save.or(below.save),
            tiers_only: self.tiers_only.or(below.tiers_only),
            device: self.device.or(below.device),
            ssh_options: self.ssh_options.or(below.ssh_options),
            warn_before: self.warn_before.or(below.warn_before),
            way_around: below.way_around,
        }
    }

    fn read(path: &Path, person: Option<&Person>) -> Result<Option<Self>, Failure> {
        let name = path.display();
        let unreadable = |error: std::io::Error| Failure::new(Exit::Usage, format!("{name}: {error}"));
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let metadata = file.metadata().map_err(unreadable)?;
        // it can name programs for ssh to start, so the rule is that of ssh_config(5)
        let owners = [Some(0), Some(geteuid().as_raw()), person.map(Person::uid)];
        if !owners.contains(&Some(metadata.uid())) || metadata.mode() & 0o022 != 0 {
            let mode = metadata.mode() & 0o7777;
            let error = format!("{name}: somebody else could have written this file (mode {mode:04o})");
            return Err(Failure::new(Exit::Usage, error).hint(format!("chown it to yourself, and chmod go-w {name}")));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        Ok(Some(Self::parse(&name.to_string(), &text)?))
    }

    fn parse(file: &str, text: &str) -> Result<Self, Faults> {
        let mut document = Document::parse(file, text)?;
        let config = Self {
            bastion: document.parsed("bastion").map(|bastion| bastion.value),
            gateway: document.parsed("gateway").map(|gateway| gateway.value),
            interface: document.parsed("interface").map(|interface| interface.value),
            save: document.boolean("save").map(|save| save.value),
            tiers_only: document.boolean("tiers-only").map(|only| only.value),
            device: document.parsed("device").map(|device| device.value),
            ssh_options: document
                .strings("ssh-options")
                .map(|options| options.value.into_iter().map(|option| option.value.into()).collect()),
            warn_before: document.parsed("warn-before").map(|interval| interval.value),
            way_around: networks(&mut document, "way-around"),
        };
        document.finish()?;
        Ok(config)
    }
}

/// A list of networks; an address alone is a network of one.
fn networks(document: &mut Document, key: &str) -> Option<Vec<IpNet>> {
    let listed = document.strings(key)?;
    let mut networks = Vec::new();
    for item in listed.value {
        let address = item.value.parse::<IpAddr>().map(IpNet::from);
        match address.or_else(|_| item.value.parse::<IpNet>()) {
            Ok(network) => networks.push(network),
            Err(_) => document.fault(&item.place, format!("{key}: write addresses and networks, as 203.0.113.0/24")),
        }
    }
    Some(networks)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_persons_file_goes_over_the_sites() {
        let own = Config::parse("own", "interface = \"wg1\"\nsave = false\n").unwrap();
        let site = Config::parse(
            "site",
            "bastion = \"ssh://bastion.example.net:2222\"\ninterface = \"wg0\"\nsave = true\ndevice = \"laptop\"\n\
             ssh-options = [\"-J\", \"jump\"]\nwarn-before = \"10m\"\ngateway = \"10.0.0.1\"\n",
        )
        .unwrap();
        let both = own.over(site);
        assert_eq!(both.bastion, "ssh://bastion.example.net:2222".parse().ok());
        assert_eq!(both.interface, "wg1".parse().ok());
        assert_eq!(both.save, Some(false));
        assert_eq!(both.device, "laptop".parse().ok());
        assert_eq!(both.ssh_options, Some(vec!["-J".into(), "jump".into()]));
        assert_eq!(both.warn_before, "10m".parse().ok());
        assert_eq!(both.gateway, "10.0.0.1".parse().ok());
    }

    #[test]
    fn a_site_says_where_a_login_may_go_past_a_tunnel() {
        let site = Config::parse("site", "way-around = [\"203.0.113.0/24\", \"2001:db8::7\"]\n").unwrap();
        for (address, may) in
            [("203.0.113.9", true), ("203.0.114.9", false), ("2001:db8::7", true), ("2001:db8::8", false)]
        {
            assert_eq!(site.may_go_around_to(address.parse().unwrap()), may, "{address}");
        }
        assert!(Config::default().may_go_around_to("203.0.114.9".parse().unwrap()));
        let nowhere = Config::parse("site", "way-around = []\n").unwrap();
        assert!(!nowhere.may_go_around_to("203.0.113.9".parse().unwrap()));
        let own = Config::parse("own", "way-around = [\"0.0.0.0/0\"]\n").unwrap();
        assert_eq!(own.over(nowhere).way_around, Some(Vec::new()), "a person's own file allows nothing");
        let faults = Config::parse("site", "way-around = [\"here\"]\n").unwrap_err().to_string();
        assert!(faults.contains("site:1:15: way-around: write addresses and networks"), "{faults}");
    }

    #[test]
    fn every_fault_is_shown_with_its_place() {
        let faults =
            Config::parse("client.toml", "bastion = \"-oProxyCommand=id\"\nport = 22\n").unwrap_err().to_string();
        for expected in ["client.toml:1:11: bastion: write [user@]host", "client.toml:2:1: ", "2 faults"] {
            assert!(faults.contains(expected), "{faults}");
        }
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.toml");
        std::fs::write(&path, "bastion = \"b\"\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        let failure = Config::load(Some(&path), None).unwrap_err();
        assert!(failure.error.ends_with("somebody else could have written this file (mode 0666)"), "{failure}");
        assert_eq!(failure.exit, Exit::Usage);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(Config::load(Some(&path), None).unwrap().bastion, "b".parse().ok());
    }

    #[test]
    fn behind_sudo_a_person_sees_no_line_of_roots_files() {
        if !geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (secret, home) = (folder.path().join("secret"), folder.path().join("home"));
        let link = home.join(OF_THE_PERSON);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(&secret, "PrivateKey = hunter2\n").unwrap();
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        let person = Person::nobody_at(&home);
        for mode in [0o600, 0o640] {
            std::fs::set_permissions(&secret, PermissionsExt::from_mode(mode)).unwrap();
            for named in [None, Some(&*link), Some(&*secret)] {
                let failure = Config::load(named, Some(&person)).unwrap_err();
                assert!(failure.error.contains("ermission denied"), "{mode:o} {named:?}: {failure}");
            }
        }
        // root may have put one there for the person
        std::fs::write(&secret, "bastion = \"b\"\n").unwrap();
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(Config::load(None, Some(&person)).unwrap().bastion, "b".parse().ok());
    }
}
