//! Where the bastion is, as a person writes it for `ssh(1)`.

use std::fmt;
use std::str::FromStr;

/// `[user@]host` or `ssh://[user@]host[:port]`: never an option, and nothing that a shell behind a ProxyCommand could
/// take for more than a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bastion(String);

/// Why a text names no bastion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BastionError;

impl fmt::Display for BastionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write [user@]host as for ssh, or ssh://[user@]host[:port]")
    }
}

impl std::error::Error for BastionError {}

impl Bastion {
    /// As `ssh` takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Bastion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Bastion {
    type Err = BastionError;

    fn from_str(text: &str) -> Result<Self, BastionError> {
        let (rest, with_port) = match text.strip_prefix("ssh://") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        // the last @, as ssh has it: user names of a directory service may hold one
        let (user, host) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
        let host = if with_port { without_port(host)? } else { host };
        let good = user.is_none_or(is_name) && is_name(host);
        if good { Ok(Self(text.to_owned())) } else { Err(BastionError) }
    }
}

/// The host of `host`, `host:port`, `[address]` or `[address]:port`.
fn without_port(text: &str) -> Result<&str, BastionError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, behind) = rest.split_once(']').ok_or(BastionError)?;
            (address, behind.strip_prefix(':').or(behind.is_empty().then_some("22")).ok_or(BastionError)?)
        }
        None => text.split_once(':').unwrap_or((text, "22")),
    };
    match port.parse::<u16>() {
        Ok(1..) if port.bytes().all(|b| b.is_ascii_digit()) => Ok(host),
        _ => Err(BastionError),
    }
}

fn is_name(text: &str) -> bool {
    let harmless = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%' | '@' | '+');
    !text.is_empty() && !text.starts_with('-') && text.chars().all(harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bastion_is_a_host_as_ssh_takes_it() {
        for good in [
            "bastion",
            "justin@bastion.example.net",
            "justin@corp.example@bastion",
            "2001:db8::1",
            "fe80::1%eth0",
            "ssh://bastion",
            "ssh://justin@bastion:2222",
            "ssh://[2001:db8::1]:2222",
        ] {
            assert_eq!(good.parse::<Bastion>().map(|bastion| bastion.to_string()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn a_bastion_is_never_an_option_or_a_command() {
        for bad in [
            "",
            "-oProxyCommand=id",
            "justin@-oProxyCommand=id",
            "-l@host",
            "@host",
            "justin@",
            "a b",
            "a;id",
            "$(id)",
            "a`id`",
            "a\n",
            "a/b",
            "ssh://",
            "ssh://-F",
            "ssh://a:0",
            "ssh://a:70000",
            "ssh://a:+22",
            "ssh://[::1",
            "ssh://[::1]22",
        ] {
            assert_eq!(bad.parse::<Bastion>(), Err(BastionError), "{bad:?}");
        }
    }
}
