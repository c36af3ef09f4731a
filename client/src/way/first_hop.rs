//! Where `ssh` would connect to first: asked of `ssh` itself (`ssh -G`), which knows its configuration best.

use std::ffi::{OsStr, OsString};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bastion::Bastion;
use crate::person::Person;

/// As many jump hosts as anybody has one behind the other.
const MOST_JUMPS: usize = 8;

/// How long `ssh -G` may take: a configuration may have `Match exec`.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first machine on the way to the bastion: itself, or a jump host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstHop {
    /// How ssh's configuration calls it.
    pub name: String,
    /// Its name or address to be looked up.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The name under which its key is known, if it is another one.
    pub alias: Option<String>,
    /// Only addresses of this family: `inet`, `inet6`; none: any.
    pub family: Option<String>,
    /// It is a jump host.
    pub jumps: bool,
}

/// Why the first hop is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// ssh has a program of the person's make the connection.
    ProxyCommand,
    /// ssh does not say.
    NotTold,
}

/// Finds the first hop for a login.
///
/// # Errors
/// It is not known, and why.
pub fn first_hop(bastion: &Bastion, options: &[OsString], person: Option<&Person>) -> Result<FirstHop, Unknown> {
    let mut told = ask(options, bastion.as_str(), &[], person).ok_or(Unknown::NotTold)?;
    let mut name = name_of(bastion.as_str());
    let mut jumps = false;
    for _ in 0..MOST_JUMPS {
        match told.next {
            Next::Here => {
                let Told { host, port, alias, family, .. } = told;
                return Ok(FirstHop { name, host, port, alias, family, jumps });
            }
            Next::Command => return Err(Unknown::ProxyCommand),
            Next::Jump(jump) => {
                jumps = true;
                name = name_of(&jump);
                // as ssh itself does it: of all options a jump host gets the configuration file alone
                let (target, port) = target_of(&jump);
                told = ask(&configuration_file(options), &target, &port, person).ok_or(Unknown::NotTold)?;
            }
        }
    }
    Err(Unknown::NotTold)
}

/// `-F FILE` among the options, the last one of them; empty: there is none.
pub fn configuration_file(options: &[OsString]) -> Vec<OsString> {
    let mut found = Vec::new();
    let mut options = options.iter();
    while let Some(option) = options.next() {
        if option == "-F" {
            found = options.next().map(|file| vec![option.clone(), file.clone()]).unwrap_or_default();
        } else if option.as_encoded_bytes().starts_with(b"-F") {
            found = vec![option.clone()];
        }
    }
    found
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Here,
    Jump(String),
    Command,
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    host: String,
    port: u16,
    alias: Option<String>,
    family: Option<String>,
    next: Next,
}

fn ask(options: &[OsString], target: &str, more: &[OsString], person: Option<&Person>) -> Option<Told> {
    let mut ssh = Command::new("ssh");
    ssh.arg("-G").args(options).args(more).arg("--").arg(target);
    if let Some(person) = person {
        person.lends_itself_to(&mut ssh);
    }
    ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    parse(&output_of(ssh.spawn().ok()?)?)
}

/// What a program prints within [`PATIENCE`]; it is ended otherwise.
fn output_of(mut child: Child) -> Option<String> {
    let mut stdout = child.stdout.take()?;
    let (give, take) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = std::io::Read::read_to_string(&mut stdout, &mut text);
        let _ = give.send(read.ok().map(|_| text));
    });
    let until = Instant::now() + PATIENCE;
    let output = take.recv_timeout(until.saturating_duration_since(Instant::now())).ok().flatten();
    if output.is_none() {
        let _ = child.kill();
    }
    let status = child.wait().ok()?;
    output.filter(|_| status.success())
}

/// The lines `keyword value` that `ssh -G` prints.
fn parse(text: &str) -> Option<Told> {
    let value = |keyword: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(keyword)?.strip_prefix(' '))?;
        Some(line.to_owned()).filter(|value| !value.is_empty() && value != "none")
    };
    let next = match (value("proxyjump"), value("proxycommand")) {
        (Some(jumps), _) => Next::Jump(jumps.split(',').next().unwrap_or_default().to_owned()),
        (None, Some(_)) => Next::Command,
        (None, None) => Next::Here,
    };
    Some(Told {
        host: value("hostname")?,
        port: value("port")?.parse().ok()?,
        alias: value("hostkeyalias"),
        family: value("addressfamily").filter(|family| family != "any"),
        next,
    })
}

/// The host of `[user@]host[:port]` or of an `ssh://` URL.
fn name_of(target: &str) -> String {
    let (target, _) = target_of(target);
    let rest = target.strip_prefix("ssh://").unwrap_or(&target);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None if target.starts_with("ssh://") => host.split(':').next().unwrap_or_default(),
        None => host,
    };
    host.to_owned()
}

/// `[user@]host[:port]` in the two parts that ssh takes apart from each other.
fn target_of(target: &str) -> (String, Vec<OsString>) {
    if target.starts_with("ssh://") {
        return (target.to_owned(), Vec::new());
    }
    let (user, host) = target.rsplit_once('@').map_or((None, target), |(user, host)| (Some(user), host));
    let (host, port) = match (host.strip_prefix('['), host.matches(':').count()) {
        (Some(rest), _) => rest.split_once(']').map_or((rest, None), |(host, port)| (host, port.strip_prefix(':'))),
        (None, 1) => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
        (None, _) => (host, None),
    };
    let target = user.map_or(host.to_owned(), |user| format!("{user}@{host}"));
    let port = port.map(|port| vec![OsStr::new("-p").to_owned(), OsStr::new(port).to_owned()]);
    (target, port.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Told {
        parse(text).unwrap()
    }

    #[test]
    fn ssh_says_where_it_would_connect_to() {
        let plain = told("user justin\nhostname bastion.example.net\nport 2222\naddressfamily any\n");
        assert_eq!((plain.host.as_str(), plain.port, plain.next), ("bastion.example.net", 2222, Next::Here));
        assert_eq!((plain.alias, plain.family), (None, None));
        let one = told("hostname b\nport 22\naddressfamily inet6\nhostkeyalias key\nproxycommand none\n");
        assert_eq!((one.alias.as_deref(), one.family.as_deref(), one.next), (Some("key"), Some("inet6"), Next::Here));
        let jump = told("hostname b\nport 22\nproxyjump j1:2200,j2\n");
        assert_eq!(jump.next, Next::Jump("j1:2200".to_owned()));
        assert_eq!(told("hostname b\nport 22\nproxycommand nc %h %p\n").next, Next::Command);
        assert_eq!(parse("Bad configuration option\n"), None);
    }

    #[test]
    fn a_jump_host_is_named_as_ssh_takes_it() {
        for (jump, name, target, port) in [
            ("jump", "jump", "jump", None),
            ("j@jump:2200", "jump", "j@jump", Some("2200")),
            ("[2001:db8::1]:2200", "2001:db8::1", "2001:db8::1", Some("2200")),
            ("j@[2001:db8::1]", "2001:db8::1", "j@2001:db8::1", None),
            ("2001:db8::1", "2001:db8::1", "2001:db8::1", None),
            ("ssh://j@jump:2200", "jump", "ssh://j@jump:2200", None),
            ("ssh://[2001:db8::1]:22", "2001:db8::1", "ssh://[2001:db8::1]:22", None),
        ] {
            assert_eq!(name_of(jump), name);
            let port = port.map(|port| vec!["-p".into(), port.into()]).unwrap_or_default();
            assert_eq!(target_of(jump), (target.to_owned(), port), "{jump}");
        }
    }

    #[test]
    fn a_jump_host_gets_the_last_configuration_file() {
        let options = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(configuration_file(&options(&["-v", "-F", "a", "-4", "-Fb"])), options(&["-Fb"]));
        assert_eq!(configuration_file(&options(&["-F", "a", "-J", "j"])), options(&["-F", "a"]));
        assert_eq!(configuration_file(&options(&["-J", "j"])), options(&[]));
    }
}
