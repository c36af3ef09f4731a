//! `wgmfa check`: what is wrong on this machine and on its way to the bastion, each with what mends it, then a count. It
//! needs no root, asks for nothing, and changes nothing.

mod rights;
mod way;

use std::ffi::OsString;
use std::path::Path;

use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::findings::Findings;
use wgmfa_core::name::InterfaceName;
use wgmfa_core::version::{Gap, PROGRAM, gap};

use crate::commands::Check;
use crate::config::Config;
use crate::last_login::LastLogin;
use crate::person::Person;
use crate::voice;

/// How far the clocks of both ends may be apart before it is worth a word, in seconds: less than one step of a one-time
/// code, more than any way takes.
const CLOCKS_APART: u64 = 5;

/// The command.
pub fn check(options: &Check, config: Option<&Path>) -> Result<Exit, Failure> {
    let person = Person::find();
    let mut findings = Findings::default();
    if let Some(config) = findings.keep(Config::load(config, person.as_ref())) {
        everything(options, config, person.as_ref(), &mut findings);
    }
    if options.json {
        voice::json(&findings.json());
    } else {
        voice::remarks(&findings.lines("wgmfa"));
        voice::line(&findings.count());
    }
    Ok(findings.exit())
}

fn everything(options: &Check, config: Config, person: Option<&Person>, findings: &mut Findings) {
    let interface = options.interface.clone().or(config.interface);
    interfaces(interface.as_ref(), findings);
    if config.tiers_only.unwrap_or(false) {
        findings.note("tiers-only = true: no right to change an interface is needed");
    } else {
        rights::check(findings);
    }
    if wgmfa_system::clock::is_synchronised() == Some(false) {
        let hint = "timedatectl set-ntp true, if this machine is also the one that shows your one-time codes";
        findings.warn("clock: no time service keeps it right", hint);
    }
    let ssh_options: Vec<OsString> =
        config.ssh_options.unwrap_or_default().into_iter().chain(options.ssh_options.iter().cloned()).collect();
    match options.bastion.as_ref().or(config.bastion.as_ref()) {
        Some(bastion) => {
            if let Some(last) = LastLogin::read(bastion) {
                of_last_login(&last, findings);
            }
            way::check(bastion, &ssh_options, person, findings);
        }
        None => findings.fault(
            Failure::new(Exit::Usage, "no bastion is named")
                .hint("wgmfa check [user@]host, or bastion = \"[user@]host\" in ~/.config/wgmfa/client.toml"),
        ),
    }
}

/// Where kernel and userspace WireGuard show their interfaces to everybody.
const DEVICES: &str = "/sys/class/net";
const SOCKETS: &str = "/var/run/wireguard";

fn interfaces(named: Option<&InterfaceName>, findings: &mut Findings) {
    let names = |folder: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let of_kernel = |name: &String| {
        let told = std::fs::read_to_string(Path::new(DEVICES).join(name).join("uevent"));
        told.is_ok_and(|told| told.lines().any(|line| line == "DEVTYPE=wireguard"))
    };
    let there = names(DEVICES);
    let is_there = |name: &String| there.contains(name);
    let of_daemons = names(SOCKETS).into_iter().filter_map(|name| name.strip_suffix(".sock").map(str::to_owned));
    let all: Vec<String> =
        there.iter().filter(|name| of_kernel(name)).cloned().chain(of_daemons.filter(is_there)).collect();
    let missing = |what: String, interface: &str| {
        Failure::new(Exit::Failed, what).hint(format!("bring it up first, for example: sudo wg-quick up {interface}"))
    };
    match named {
        Some(name) if !all.iter().any(|one| one == name.as_str()) => {
            findings.fault(missing(format!("no WireGuard interface {name}"), name.as_str()));
        }
        None if all.is_empty() => findings.fault(missing("no WireGuard interface here".to_owned(), "wg0")),
        _ => {}
    }
}

fn of_last_login(last: &LastLogin, findings: &mut Findings) {
    if let Some(ahead) = last.ahead.filter(|ahead| ahead.unsigned_abs() > CLOCKS_APART) {
        let word = if ahead > 0 { "ahead of" } else { "behind" };
        let warning = format!("clock: at the last login {} s {word} the bastion's", ahead.unsigned_abs());
        findings.warn(warning, "times of day that are shown are wrong by that; set one of the two right");
    }
    let Some(theirs) = &last.program else { return };
    let hint = match gap(PROGRAM, theirs) {
        None => return,
        Some(Gap::WeAreOlder) => "bring wgmfa forward on this machine",
        Some(Gap::TheyAreOlder | Gap::Unknown) => "tell the bastion's administrator",
    };
    findings.warn(format!("the bastion is wgmfa {theirs}, this is {PROGRAM}: more than one minor version apart"), hint);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_last_login_told_is_compared() {
        let found = |ahead: i64, program: &str| {
            let text = format!(r#"{{"version":1,"bastion":"b","program":"{program}","ahead":{ahead}}}"#);
            let mut findings = Findings::default();
            of_last_login(&serde_json::from_str(&text).unwrap(), &mut findings);
            findings.warnings.into_iter().map(|warning| warning.error).collect::<Vec<_>>()
        };
        assert_eq!(found(5, PROGRAM), [""; 0]);
        assert_eq!(found(-7200, PROGRAM), ["clock: at the last login 7200 s behind the bastion's"]);
        assert_eq!(
            found(0, "9.0.0"),
            [format!("the bastion is wgmfa 9.0.0, this is {PROGRAM}: more than one minor version apart")]
        );
    }
}
