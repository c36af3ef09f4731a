//! Which policies name an end, without asking each of them: names in maps, those with stars by what must be there.

use std::collections::{BTreeSet, HashMap};

use crate::connection::InterfaceRef;
use crate::key::PublicKey;
use crate::name::DeviceName;
use crate::policy::{Covers, Glob, List, Pattern, Policy};

/// A list of a policy that names an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Naming {
    /// The policy's place in its set: lower wins.
    pub(super) policy: usize,
    /// The list.
    pub(super) list: List,
}

/// All patterns of a set of policies.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    interfaces: HashMap<InterfaceRef, Vec<Naming>>,
    devices: HashMap<DeviceName, Vec<Naming>>,
    keys: HashMap<PublicKey, Vec<Naming>>,
    interface_globs: Vec<(Glob, Glob, Naming)>,
    device_globs: DeviceGlobs,
}

/// Names of devices with stars, by what stands in front of the first star, else by what stands behind the last.
#[derive(Debug, Clone, Default)]
struct DeviceGlobs {
    fronts: Parts,
    backs: Parts,
    /// Those with a star at both ends.
    others: Vec<(Glob, Naming)>,
}

#[derive(Debug, Clone, Default)]
struct Parts {
    lengths: BTreeSet<usize>,
    globs: HashMap<String, Vec<(Glob, Naming)>>,
}

impl Parts {
    fn insert(&mut self, part: &str, glob: Glob, naming: Naming) {
        self.lengths.insert(part.len());
        self.globs.entry(part.to_owned()).or_default().push((glob, naming));
    }

    /// Those whose part is what `part` cuts out of a name for one of their lengths.
    fn at<'a>(&'a self, part: impl Fn(usize) -> Option<&'a str>) -> impl Iterator<Item = &'a (Glob, Naming)> {
        self.lengths.iter().filter_map(move |length| self.globs.get(part(*length)?)).flatten()
    }
}

impl DeviceGlobs {
    fn insert(&mut self, glob: Glob, naming: Naming) {
        let text = glob.to_string();
        let (front, rest) = text.split_once('*').unwrap_or((&text, ""));
        let back = rest.rsplit('*').next().unwrap_or("");
        match (front, back) {
            ("", "") => self.others.push((glob, naming)),
            ("", back) => self.backs.insert(back, glob, naming),
            (front, _) => self.fronts.insert(front, glob, naming),
        }
    }

    fn matching<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Naming> + 'a {
        let fronts = self.fronts.at(move |length| name.get(..length));
        let backs = self.backs.at(move |length| name.get(name.len().checked_sub(length)?..));
        let globs = fronts.chain(backs).chain(&self.others);
        globs.filter(move |(glob, _)| glob.matches(name)).map(|(_, naming)| *naming)
    }
}

impl Index {
    /// Takes the patterns of policies that are sorted by ordinal.
    pub(super) fn new(policies: &[Policy]) -> Self {
        let mut index = Self::default();
        for (place, policy) in policies.iter().enumerate() {
            let lists: &[(List, &[Pattern])] = match &policy.covers {
                Covers::Mfa { server_peers, client_peers } => {
                    &[(List::Server, server_peers), (List::Client, client_peers)]
                }
                Covers::Together { peers } => &[(List::Both, peers)],
            };
            for &(list, patterns) in lists {
                patterns.iter().for_each(|pattern| index.insert(pattern, Naming { policy: place, list }));
            }
        }
        index
    }

    fn insert(&mut self, pattern: &Pattern, naming: Naming) {
        match pattern {
            Pattern::Key(key) => self.keys.entry(*key).or_default().push(naming),
            Pattern::Device(name) => match name.exact().and_then(|name| name.parse().ok()) {
                Some(name) => self.devices.entry(name).or_default().push(naming),
                None => self.device_globs.insert(name.clone(), naming),
            },
            Pattern::Interface { host, interface } => match format!("{host}/{interface}").parse() {
                Ok(name) => self.interfaces.entry(name).or_default().push(naming),
                Err(_) => self.interface_globs.push((host.clone(), interface.clone(), naming)),
            },
        }
    }

    /// The lists that name an interface by its name, lowest ordinal first.
    pub(super) fn of_interface(&self, name: &InterfaceRef) -> Vec<Naming> {
        let mut namings = self.interfaces.get(name).cloned().unwrap_or_default();
        let named = |(host, interface, naming): &(Glob, Glob, Naming)| {
            (host.matches(name.host.as_str()) && interface.matches(name.interface.as_str())).then_some(*naming)
        };
        namings.extend(self.interface_globs.iter().filter_map(named));
        namings.sort();
        namings
    }

    /// The lists that name a device by its name, lowest ordinal first.
    pub(super) fn of_device(&self, name: &DeviceName) -> Vec<Naming> {
        let mut namings = self.devices.get(name).cloned().unwrap_or_default();
        namings.extend(self.device_globs.matching(name.as_str()));
        namings.sort();
        namings
    }

    /// The lists that name an end by its public key, lowest ordinal first.
    pub(super) fn of_key(&self, key: &PublicKey) -> &[Naming] {
        self.keys.get(key).map(Vec::as_slice).unwrap_or_default()
    }
}
