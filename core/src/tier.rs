//! Tiers of a gateway: which networks a peer may reach after a code, and which tier lies below which.
//!
//! They stand in `agent.toml`:
//!
//! ```toml
//! [tier.0]                        # without a code
//! allow = ["10.0.0.1:7777/tcp"]
//! [tier.prod]
//! allow = ["10.1.0.0/16", "fd00:1::/48", "10.2.0.5:443/tcp"]
//! [tier.admin]                    # a step up from prod, by a code of its own
//! allow = ["10.9.0.0/24"]
//! from = "prod"
//! lifetime = "10m"
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::document::{Document, Placed};
use crate::interval::Interval;
use crate::name::TierName;

/// The name of the tier that is open without a code.
pub const OPEN: &str = "0";

/// Whether this is the tier that is open without a code.
pub fn is_open(name: &TierName) -> bool {
    name.as_str() == OPEN
}

/// Shortest lifetime of a tier, in seconds.
const SHORTEST_LIFETIME: u64 = 30;

/// The tiers of one gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tiers(BTreeMap<TierName, Tier>);

/// What one tier opens, and for how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tier {
    /// What a peer may reach.
    pub allow: Vec<Allowed>,
    /// How long a code inside the tunnel opens it at most; none: as long as the policy's rotation interval says.
    pub lifetime: Option<Interval>,
    /// The tier from which a person may step up to it, and to which it falls back; none: only a policy gives it.
    pub from: Option<TierName>,
}

/// A network, or a service on one: `10.1.0.0/16`, `fd00:1::/48`, `10.2.0.5:443/tcp`, `[fd00::5]:443/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Allowed {
    /// The addresses.
    pub network: IpNet,
    /// Only this service there; none: everything.
    pub service: Option<Service>,
}

/// A port of a transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
}

/// Why a text is nothing that a tier can allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedError {
    /// Not of the form.
    Form,
    /// The address has bits beyond its prefix length.
    HostBits,
}

impl fmt::Display for AllowedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => {
                "write a network (10.1.0.0/16, fd00:1::/48) or a service (10.2.0.5:443/tcp, [fd00::5]:53/udp)"
            }
            Self::HostBits => "the address has bits beyond its prefix length: write the network's first address",
        })
    }
}

impl std::error::Error for AllowedError {}

impl FromStr for Protocol {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Self, AllowedError> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(AllowedError::Form),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Allowed {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Self, AllowedError> {
        if let Some((place, protocol)) = text.rsplit_once('/').filter(|(_, end)| end.starts_with(char::is_alphabetic)) {
            let protocol = protocol.parse()?;
            let (address, port) = place.rsplit_once(':').ok_or(AllowedError::Form)?;
            let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let address: IpAddr = bare.unwrap_or(address).parse().map_err(|_| AllowedError::Form)?;
            // an IPv6 address without brackets would hide where the port begins
            if address.is_ipv6() != bare.is_some() {
                return Err(AllowedError::Form);
            }
            let port = port.parse().ok().filter(|port| *port > 0).ok_or(AllowedError::Form)?;
            return Ok(Self { network: address.into(), service: Some(Service { protocol, port }) });
        }
        let network = match text.parse::<IpNet>() {
            Ok(network) => network,
            Err(_) => text.parse::<IpAddr>().map_err(|_| AllowedError::Form)?.into(),
        };
        if network.trunc() != network {
            return Err(AllowedError::HostBits);
        }
        Ok(Self { network, service: None })
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.service, self.network.addr()) {
            (None, _) => self.network.fmt(f),
            (Some(Service { protocol, port }), IpAddr::V4(address)) => write!(f, "{address}:{port}/{protocol}"),
            (Some(Service { protocol, port }), IpAddr::V6(address)) => write!(f, "[{address}]:{port}/{protocol}"),
        }
    }
}

impl Tiers {
    /// Takes the tables `[tier.NAME]` of a configuration; every fault is reported at its place.
    pub fn read(document: &mut Document) -> Self {
        let read = document.tables("tier", |name, keys| {
            let allow = allow(keys, name != OPEN);
            let lifetime = keys.parsed::<Interval>("lifetime");
            let from = keys.parsed::<TierName>("from");
            (name.to_owned(), allow, lifetime, from)
        });
        let mut tiers = BTreeMap::new();
        let mut steps = Vec::new();
        for Placed { value: (name, allow, lifetime, from), place } in read {
            let name = match name.parse::<TierName>() {
                Ok(name) => name,
                Err(error) => {
                    document.fault(&place, format!("tier: {error}"));
                    continue;
                }
            };
            if is_open(&name) && (lifetime.is_some() || from.is_some()) {
                document.fault(&place, "tier.0 is open without a code: it has neither lifetime nor from");
            }
            if let Some(short) = lifetime.iter().find(|found| found.value.as_seconds() < SHORTEST_LIFETIME) {
                let shortest = Interval::from_seconds(SHORTEST_LIFETIME);
                document.fault(&short.place, format!("tier.{name}.lifetime must be at least {shortest}"));
            }
            steps.extend(from.iter().map(|from| (name.clone(), from.clone())));
            let (lifetime, from) = (lifetime.map(|lifetime| lifetime.value), from.map(|from| from.value));
            tiers.insert(name, Tier { allow, lifetime, from });
        }
        let tiers = Self(tiers);
        for (name, from) in steps {
            if is_open(&from.value) || tiers.get(&from.value).is_none() {
                document.fault(&from.place, format!("tier.{name}.from must name another tier with a code"));
            } else if tiers.below(&name).is_none() {
                document.fault(&from.place, format!("tier.{name}.from leads back to itself"));
            }
        }
        tiers
    }

    /// A tier by its name.
    pub fn get(&self, name: &TierName) -> Option<&Tier> {
        self.0.get(name)
    }

    /// All tiers with a code, sorted by name.
    pub fn with_code(&self) -> impl Iterator<Item = (&TierName, &Tier)> {
        self.0.iter().filter(|(name, _)| !is_open(name))
    }

    /// What is open without a code.
    pub fn open(&self) -> &[Allowed] {
        self.0.iter().find(|(name, _)| is_open(name)).map_or(&[], |(_, tier)| tier.allow.as_slice())
    }

    /// The tiers that open with this one, itself last, the lowest first. None: there is no such tier with a code, or its
    /// steps lead back to it.
    pub fn below(&self, name: &TierName) -> Option<Vec<&TierName>> {
        let mut chain: Vec<&TierName> = Vec::new();
        let mut next = Some(name);
        while let Some(name) = next {
            let (name, tier) = self.0.get_key_value(name).filter(|(name, _)| !is_open(name))?;
            if chain.contains(&name) {
                return None;
            }
            chain.push(name);
            next = tier.from.as_ref();
        }
        chain.reverse();
        Some(chain)
    }

    /// The tiers that a code opens for a peer whose policy gives `base`: from that one up to the wanted one. None: no such
    /// tier for this peer.
    pub fn steps(&self, base: &TierName, wanted: &TierName) -> Option<Vec<&TierName>> {
        let chain = self.below(wanted)?;
        let begins = chain.iter().position(|name| *name == base)?;
        Some(chain[begins..].to_vec())
    }

    /// Whether a grant of this tier may be in force for a peer whose policy gives `base`: it is that one, or lies above or
    /// below it. What another policy gave before ends with that.
    pub fn gives(&self, base: &TierName, tier: &TierName) -> bool {
        self.steps(base, tier).is_some() || self.steps(tier, base).is_some()
    }
}

fn allow(keys: &mut Document, is_required: bool) -> Vec<Allowed> {
    let mut list = keys.strings("allow");
    if is_required {
        list = keys.required("allow", list);
    }
    let mut allowed = Vec::new();
    for Placed { value, place } in list.into_iter().flat_map(|list| list.value) {
        match value.parse() {
            Ok(value) => allowed.push(value),
            Err(error) => keys.fault(&place, format!("allow: {error}")),
        }
    }
    allowed.sort();
    allowed.dedup();
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Tiers, String> {
        let mut document = Document::parse("agent.toml", text).map_err(|faults| faults.to_string())?;
        let tiers = Tiers::read(&mut document);
        document.finish().map_err(|faults| faults.to_string())?;
        Ok(tiers)
    }

    fn name(text: &str) -> TierName {
        text.parse().unwrap()
    }

    const THREE: &str = r#"
        [tier.0]
        allow = ["10.0.0.1:7777/tcp"]
        [tier.prod]
        allow = ["10.1.0.0/16", "fd00:1::/48", "10.2.0.5:443/tcp", "[fd00::5]:53/udp", "10.3.0.1"]
        [tier.admin]
        allow = ["10.9.0.0/24"]
        from = "prod"
        lifetime = "10m"
    "#;

    #[test]
    fn what_a_tier_allows_is_read_and_written() {
        let tiers = read(THREE).unwrap();
        let prod = tiers.get(&name("prod")).unwrap();
        let written: Vec<_> = prod.allow.iter().map(Allowed::to_string).collect();
        assert_eq!(written, ["10.1.0.0/16", "10.2.0.5:443/tcp", "10.3.0.1/32", "[fd00::5]:53/udp", "fd00:1::/48"]);
        assert_eq!(tiers.open()[0].to_string(), "10.0.0.1:7777/tcp");
        for bad in [
            "",
            "10.1.0.0/33",
            "10.1.0.1/16",
            "10.2.0.5:0/tcp",
            "10.2.0.5:443",
            "fd00::5:443/tcp",
            "10.2.0.5/tcp",
            "10.2.0.5:443/icmp",
            "10.2.0.0/24:443/tcp",
            "[10.2.0.5]:443/tcp",
            "host:443/tcp",
            "10.1.0.0/16 ",
        ] {
            assert!(bad.parse::<Allowed>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_person_steps_up_along_the_tiers_of_the_policy_only() {
        let tiers = read(&format!("{THREE}\n[tier.guests]\nallow = []\n")).unwrap();
        let (prod, admin, guests) = (name("prod"), name("admin"), name("guests"));
        assert_eq!(tiers.steps(&prod, &prod), Some(vec![&prod]));
        assert_eq!(tiers.steps(&prod, &admin), Some(vec![&prod, &admin]));
        assert_eq!(tiers.steps(&admin, &admin), Some(vec![&admin]), "a policy may give it at once");
        assert_eq!(tiers.steps(&guests, &admin), None);
        assert_eq!(tiers.steps(&admin, &prod), None, "that is no step up");
        assert_eq!(tiers.steps(&prod, &name("0")), None);
        assert_eq!(tiers.steps(&prod, &name("nothing")), None);
        assert!(tiers.gives(&prod, &prod) && tiers.gives(&prod, &admin) && tiers.gives(&admin, &prod));
        assert!(!tiers.gives(&guests, &prod) && !tiers.gives(&prod, &guests) && !tiers.gives(&prod, &name("0")));
    }

    #[test]
    fn nothing_need_be_open_without_a_code() {
        let tiers = read("[tier.0]\n[tier.prod]\nallow = []\n").unwrap();
        assert!(tiers.open().is_empty() && tiers.with_code().count() == 1);
    }

    #[test]
    fn a_broken_tier_is_named_at_its_place() {
        let shown = read(
            "[tier.0]\nallow = []\nlifetime = \"1h\"\n[tier.a]\nallow = [\"10.1.0.1/16\"]\nfrom = \"b\"\nlifetime = \"1s\"\n\
             [tier.b]\nallow = []\nfrom = \"a\"\n[tier.c]\nfrom = \"d\"\n[tier.'no good']\nallow = []\n",
        )
        .unwrap_err();
        for fault in [
            "tier.0 is open without a code",
            "agent.toml:5:10: allow: the address has bits beyond its prefix length",
            "tier.a.lifetime must be at least 30s",
            "tier.a.from leads back to itself",
            "tier.b.from leads back to itself",
            "tier.c.from must name another tier with a code",
            "tier.c.allow is required",
            "tier: a name begins with a-z",
            "8 faults",
        ] {
            assert!(shown.contains(fault), "{fault}: {shown}");
        }
    }
}
