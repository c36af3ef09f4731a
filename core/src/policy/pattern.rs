//! How a policy names peers: `HOST/INTERFACE`, a device's name, or a public key; `*` matches within a name.

use std::fmt;
use std::str::FromStr;

use crate::key::PublicKey;
use crate::name::{DeviceName, HostName, InterfaceName, NameError};

/// A name of peers in a policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// `HOST/INTERFACE`; `*` stands for any run of characters of one of the two names, never for the slash.
    Interface {
        /// The host's part.
        host: Glob,
        /// The interface's part.
        interface: Glob,
    },
    /// The name of a device, also with `*`.
    Device(Glob),
    /// A public key, of any end.
    Key(PublicKey),
}

/// A name in which `*` stands for any run of characters, also for none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob(String);

impl Glob {
    fn parse<Name: FromStr<Err = NameError>>(text: &str) -> Result<Self, NameError> {
        // what is around the stars must be characters of such a name
        text.replace('*', "0").parse::<Name>()?;
        Ok(Self(text.to_owned()))
    }

    /// The name, if this stands for one name only.
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&self.0)
    }

    /// Whether it stands for this name.
    pub fn matches(&self, name: &str) -> bool {
        let (glob, name) = (self.0.as_bytes(), name.as_bytes());
        // most names are ruled out by their end, before the search
        if glob.last().is_some_and(|last| *last != b'*' && name.last() != Some(last)) {
            return false;
        }
        let (mut g, mut n) = (0, 0);
        // the last star, and the first byte of the name that it does not swallow
        let mut star = None;
        while n < name.len() {
            if glob.get(g) == Some(&b'*') {
                star = Some((g, n));
                g += 1;
            } else if glob.get(g) == Some(&name[n]) {
                (g, n) = (g + 1, n + 1);
            } else if let Some((at, swallowed)) = star {
                star = Some((at, swallowed + 1));
                (g, n) = (at + 1, swallowed + 1);
            } else {
                return false;
            }
        }
        glob[g..].iter().all(|&byte| byte == b'*')
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text names no peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternError {
    /// One of its names is none.
    Name(NameError),
    /// Neither a name, nor two with a slash between them, nor a public key.
    Shape,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("name a peer as HOST/INTERFACE, by a device's name, or by a public key")?;
        match self {
            Self::Name(error) => write!(f, ": {error}"),
            Self::Shape => Ok(()),
        }
    }
}

impl std::error::Error for PatternError {}

impl From<NameError> for PatternError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if let Ok(key) = text.parse() {
            return Ok(Self::Key(key));
        }
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [device] => Ok(Self::Device(Glob::parse::<DeviceName>(device)?)),
            [host, interface] => Ok(Self::Interface {
                host: Glob::parse::<HostName>(host)?,
                interface: Glob::parse::<InterfaceName>(interface)?,
            }),
            _ => Err(PatternError::Shape),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface { host, interface } => write!(f, "{host}/{interface}"),
            Self::Device(name) => name.fmt(f),
            Self::Key(key) => key.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(text: &str) -> Glob {
        Glob(text.to_owned())
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name) in
            [("*", "a"), ("*", ""), ("a*", "a"), ("*-gw", "app-gw"), ("a*b*c", "aXbbYc"), ("**", "x"), ("*a*a", "aaa")]
        {
            assert!(glob(pattern).matches(name), "{pattern} {name}");
        }
        for (pattern, name) in [("a*", "ba"), ("*-gw", "gw"), ("a*b", "abc"), ("*a*a", "a"), ("a", "aa"), ("aa", "a")] {
            assert!(!glob(pattern).matches(name), "{pattern} {name}");
        }
    }

    #[test]
    fn peers_are_named_in_three_ways() {
        let key = "ezi8yOz8uW/rZVM+88zTu79wzRa3bNPUXCahxDU9ebE=";
        assert!(matches!(key.parse(), Ok(Pattern::Key(_))));
        assert!(matches!("laptop-*".parse(), Ok(Pattern::Device(_))));
        assert!(matches!("*-gw/devices".parse(), Ok(Pattern::Interface { .. })));
        for text in [key, "laptop-*", "*-gw/devices"] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_nobody_is_refused_with_the_reason() {
        let shape = "name a peer as HOST/INTERFACE, by a device's name, or by a public key";
        for (bad, why) in [
            ("a/b/c", ""),
            ("", ": a name cannot be empty"),
            ("/wg0", ": a name cannot be empty"),
            ("gw/", ": a name cannot be empty"),
            ("root/wg0", ": 'agent' and 'root' are reserved names"),
            ("GW/wg0", ": a name begins with a-z or 0-9 and has only a-z, 0-9, '.', '_' and '-'"),
            ("gw?/wg0", ": a name begins with a-z or 0-9 and has only a-z, 0-9, '.', '_' and '-'"),
        ] {
            assert_eq!(bad.parse::<Pattern>().unwrap_err().to_string(), format!("{shape}{why}"), "{bad:?}");
        }
        // a key cut short has characters that no name has
        assert!("ezi8yOz8uW/rZVM+88zTu79wzRa3bNPUXCahxDU9ebE".parse::<Pattern>().is_err());
    }

    proptest! {
        #[test]
        fn a_pattern_without_a_star_stands_for_itself_alone(one in "[ab]{1,4}", other in "[ab]{1,4}") {
            prop_assert_eq!(glob(&one).matches(&other), one == other);
        }

        #[test]
        fn a_star_in_place_of_any_run_still_matches(start in "[ab]{0,4}", run in "[abc]{0,4}", end in "[ab]{0,4}") {
            let pattern = format!("{start}*{end}");
            let name = format!("{start}{run}{end}");
            prop_assert!(glob(&pattern).matches(&name));
        }
    }
}
