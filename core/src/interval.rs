//! Lengths of time as policies write them: `30s`, `10m`, `1h`, `1d`, `1d12h`.

use std::fmt;
use std::str::FromStr;

/// A length of time in whole seconds, written as in a policy file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(u64);

/// Why a text is not a length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntervalError;

impl fmt::Display for IntervalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write a length of time as 30s, 10m, 1h, 1d or 1d12h")
    }
}

impl std::error::Error for IntervalError {}

impl Interval {
    /// A length of time from its seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The length in seconds.
    pub fn as_seconds(self) -> u64 {
        self.0
    }
}

/// Units from long to short; each may stand once, in this order.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Longer than anyone lives (a thousand years), and far from overflow.
const LONGEST: u64 = 1000 * 365 * 86_400;

impl FromStr for Interval {
    type Err = IntervalError;

    fn from_str(text: &str) -> Result<Self, IntervalError> {
        let mut seconds = 0u64;
        let mut units = UNITS.iter();
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| IntervalError)?;
            let letter = rest[digits..].chars().next().ok_or(IntervalError)?;
            let &(_, factor) = units.find(|(unit, _)| *unit == letter).ok_or(IntervalError)?;
            let part = number.checked_mul(factor).ok_or(IntervalError)?;
            seconds = seconds.checked_add(part).filter(|s| *s <= LONGEST).ok_or(IntervalError)?;
            rest = &rest[digits + 1..];
        }
        if text.is_empty() { Err(IntervalError) } else { Ok(Self(seconds)) }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, factor) in UNITS {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

/// How long is left, for people: `58 min left`, as [`for_people`] writes it.
pub fn left(seconds: u64) -> String {
    format!("{} left", for_people(seconds))
}

/// A length of time for people: whole minutes from two minutes up (rounded down), seconds below.
pub fn for_people(seconds: u64) -> String {
    if seconds >= 120 { format!("{} min", seconds / 60) } else { format!("{seconds} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_written() {
        for (text, seconds) in
            [("30s", 30), ("10m", 600), ("1h", 3600), ("1d", 86_400), ("1d12h", 129_600), ("90m", 5400)]
        {
            assert_eq!(text.parse(), Ok(Interval(seconds)), "{text}");
        }
        for bad in [
            "",
            "30",
            "s",
            "1x",
            "1h1h",
            "1s1h",
            "-1s",
            " 1s",
            "1 s",
            "1.5h",
            "99999999999999999999s",
            "400000d1h",
            "1hd",
        ] {
            assert!(bad.parse::<Interval>().is_err(), "{bad:?}");
        }
        assert_eq!(Interval(129_600).to_string(), "1d12h");
        assert_eq!(Interval(0).to_string(), "0s");
    }
}
