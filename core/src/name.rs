//! Names of hosts, interfaces, devices, people and tiers, each a type of its own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a name. Never contains the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// No characters at all.
    Empty,
    /// More than 63 characters.
    TooLong,
    /// A character outside `[a-z0-9._-]`, or a first character outside `[a-z0-9]`.
    Character,
    /// `agent` and `root` are nobody's name.
    Reserved,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a name cannot be empty",
            Self::TooLong => "a name has at most 63 characters",
            Self::Character => "a name begins with a-z or 0-9 and has only a-z, 0-9, '.', '_' and '-'",
            Self::Reserved => "'agent' and 'root' are reserved names",
        })
    }
}

impl std::error::Error for NameError {}

/// `[a-z0-9][a-z0-9._-]{0,62}`
fn check(text: &str) -> Result<(), NameError> {
    let first = *text.as_bytes().first().ok_or(NameError::Empty)?;
    if text.len() > 63 {
        return Err(NameError::TooLong);
    }
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let inner = |b: u8| lower(b) || matches!(b, b'.' | b'_' | b'-');
    if lower(first) && text.bytes().all(inner) { Ok(()) } else { Err(NameError::Character) }
}

fn check_not_reserved(text: &str) -> Result<(), NameError> {
    check(text)?;
    if matches!(text, "agent" | "root") { Err(NameError::Reserved) } else { Ok(()) }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>); // the same few names stand in very many connections

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::text::deserialize(deserializer)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// A machine that runs `wgmfa-agent`.
    HostName, check_not_reserved
);
name!(
    /// A WireGuard interface of a host, as `wg(8)` names it.
    InterfaceName, check
);
name!(
    /// A person's WireGuard key. Shares one name space with hosts.
    DeviceName, check_not_reserved
);
name!(
    /// A person.
    UserName, check_not_reserved
);
name!(
    /// A tier: a named set of networks that the firewall opens.
    TierName, check
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_words() {
        for good in ["a", "app-gw", "0", "justins-laptop", "a.b_c-d", &"a".repeat(63)] {
            assert!(good.parse::<HostName>().is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", NameError::Empty),
            (&*"a".repeat(64), NameError::TooLong),
            ("-a", NameError::Character),
            (".a", NameError::Character),
            ("A", NameError::Character),
            ("a/b", NameError::Character),
            ("a b", NameError::Character),
            ("ä", NameError::Character),
            ("a\n", NameError::Character),
            ("agent", NameError::Reserved),
            ("root", NameError::Reserved),
        ] {
            assert_eq!(bad.parse::<UserName>(), Err(why), "{bad:?}");
        }
    }
}
