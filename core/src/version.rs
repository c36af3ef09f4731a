//! Which programs of different versions are meant to talk to each other.
//!
//! The version of a conversation (`message::VERSION`) is what programs check: another one is refused. The version of a
//! program is only told to the other side, so that `check` can name a pair that nobody has tried together.

/// The version of this program, as `--version` shows it.
pub const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// Longest version of the other side that is kept and shown, in bytes.
const LONGEST: usize = 32;

/// A version as the other side tells it, if it can be one: digits, letters, dots, hyphens and plus signs.
pub fn told(version: Option<&str>) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
    version.filter(|text| !text.is_empty() && text.len() <= LONGEST && text.bytes().all(plain)).map(str::to_owned)
}

/// What is to be said of two programs of these versions: nothing when they have the same major version and their minor
/// versions are at most one apart. One that cannot be read is of no known age.
pub fn gap(ours: &str, theirs: &str) -> Option<Gap> {
    let (Some(ours), Some(theirs)) = (numbers(ours), numbers(theirs)) else { return Some(Gap::Unknown) };
    let older = theirs < ours;
    if ours.0 == theirs.0 && ours.1.abs_diff(theirs.1) <= 1 {
        return None;
    }
    Some(if older { Gap::TheyAreOlder } else { Gap::WeAreOlder })
}

/// Two versions that are too far apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The other side is to be brought forward.
    TheyAreOlder,
    /// This side is.
    WeAreOlder,
    /// One of the two is no version.
    Unknown,
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_minor_version_apart_is_near_enough() {
        for near in ["0.4.0", "0.5.9", "0.6.1", "0.5.0-rc1"] {
            assert_eq!(gap("0.5.2", near), None, "{near}");
        }
        for (far, found) in [
            ("0.3.9", Gap::TheyAreOlder),
            ("0.7.0", Gap::WeAreOlder),
            ("1.5.0", Gap::WeAreOlder),
            ("five", Gap::Unknown),
            ("", Gap::Unknown),
        ] {
            assert_eq!(gap("0.5.2", far), Some(found), "{far}");
        }
        assert_eq!(gap("1.0.0", "0.9.0"), Some(Gap::TheyAreOlder));
        assert_eq!(gap(PROGRAM, PROGRAM), None);
    }

    #[test]
    fn what_the_other_side_calls_its_version_is_kept_only_if_it_can_be_one() {
        assert_eq!(told(Some("0.2.0-rc.1+deb12")).as_deref(), Some("0.2.0-rc.1+deb12"));
        for wrong in [None, Some(""), Some("0.1\n"), Some("\u{1b}[2J"), Some(&*"1".repeat(33))] {
            assert_eq!(told(wrong), None, "{wrong:?}");
        }
    }
}
