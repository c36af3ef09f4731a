//! The bastion changes its SSH host key, and this person's known_hosts follows, where `ssh` itself would follow a server that
//! could announce its keys to it (UpdateHostKeys of ssh_config(5)): over a login that the key in use has authenticated.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wgmfa_core::known_hosts::{MOST_KEYS, learn};

use crate::bastion::Bastion;
use crate::person::Person;
use crate::voice;

/// How `ssh` finds a server's key, by its own account (`ssh -G`).
#[derive(Debug, PartialEq, Eq)]
struct Lookup {
    /// As known_hosts has it.
    name: String,
    file: PathBuf,
}

/// Takes over what the bastion announces, the key in use first, a line for each change. What hinders it is told and is no
/// failure: the key in use is known.
pub fn follow(bastion: &Bastion, ssh_options: &[OsString], person: Option<&Person>, announced: &[String]) {
    // root writes nothing into the home of somebody else
    if announced.is_empty() || person.is_some_and(Person::is_behind_sudo) || !announced.iter().all(|key| is_key(key)) {
        return;
    }
    let Some(lookup) = look_up(bastion, ssh_options) else { return };
    let announced = &announced[..announced.len().min(MOST_KEYS)];
    if let Err(why) = follow_in(&lookup, announced) {
        voice::remark(&format!(
            "the bastion is going to have another SSH host key, and {}: {why}",
            lookup.file.display()
        ));
    }
}

fn follow_in(lookup: &Lookup, announced: &[String]) -> std::io::Result<()> {
    // what stands behind a symbolic link is replaced, not the link
    let Ok(file) = lookup.file.canonicalize() else { return Ok(()) };
    let found = found(&lookup.name, &file);
    let known: Vec<String> = found.iter().map(|(_, key)| key.clone()).collect();
    // who is known by another file, or by none, is the affair of whoever arranged that
    if !known.contains(&announced[0]) {
        return Ok(());
    }
    let hashed = found.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with('|'));
    let names: Vec<&str> = std::iter::once(lookup.name.as_str()).chain(hashed).collect();
    let text = std::fs::read_to_string(&file)?;
    let Some(learned) = learn(&text, &names, &known, &announced[0], announced) else { return Ok(()) };
    replace(&file, &learned.text)?;
    let shown = file.display();
    for (what, keys) in [("learned", &learned.added), ("forgot", &learned.removed)] {
        keys.iter().for_each(|key| voice::remark(&format!("{shown}: {what} a host key of {}: {key}", lookup.name)));
    }
    Ok(())
}

/// `TYPE BASE64` and nothing else: it becomes a line of known_hosts.
fn is_key(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-.@".contains(&byte);
    let mut words = text.split(' ');
    let kind = words.next().is_some_and(|kind| kind.starts_with("ssh-") || kind.starts_with("ecdsa-"));
    let word = |word: &str| !word.is_empty() && word.bytes().all(plain);
    kind && words.next().is_some_and(word) && words.next().is_none() && text.split(' ').all(word) && text.len() < 1024
}

fn look_up(bastion: &Bastion, ssh_options: &[OsString]) -> Option<Lookup> {
    let mut ssh = Command::new("ssh");
    ssh.arg("-G").args(ssh_options).args(["--", bastion.as_str()]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = ssh.output().ok().filter(|output| output.status.success())?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(told: &str) -> Option<Lookup> {
    let value = |key: &str| told.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    if !matches!(value("updatehostkeys"), Some("true" | "yes")) {
        return None;
    }
    let host = value("hostname")?.to_lowercase();
    let name = match (value("hostkeyalias"), value("port")) {
        (Some(alias), _) => alias.to_owned(),
        (None, None | Some("22")) => host,
        (None, Some(port)) => format!("[{host}]:{port}"),
    };
    let file = value("userknownhostsfile")?.split(' ').next().filter(|file| file.starts_with('/'))?;
    Some(Lookup { name, file: file.into() })
}

/// The names and keys of the lines that stand for a name, hashed ones too, as `ssh-keygen -F` finds them.
fn found(name: &str, file: &Path) -> Vec<(String, String)> {
    let mut keygen = Command::new("ssh-keygen");
    let output = keygen.args(["-F", name, "-f"]).arg(file).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().filter(|first| !first.starts_with(['#', '@']))?;
        Some((name.to_owned(), format!("{} {}", words.next()?, words.next()?)))
    };
    text.lines().filter_map(line).collect()
}

/// In one step: after a crash or with a full disk the old file is whole.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".wgmfa-new");
    let (fresh, mode) = (PathBuf::from(name), path.metadata()?.mode() & 0o777);
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_tells_by_which_name_and_in_which_file_it_looks() {
        let told = "hostname Bastion.example.net\nport 2222\nupdatehostkeys true\nuserknownhostsfile /h/.ssh/known_hosts /h/2\n";
        let expected = |name: &str| Some(Lookup { name: name.into(), file: "/h/.ssh/known_hosts".into() });
        assert_eq!(parse(told), expected("[bastion.example.net]:2222"));
        assert_eq!(parse(&told.replace("2222", "22")), expected("bastion.example.net"));
        assert_eq!(parse(&format!("{told}hostkeyalias b\n")), expected("b"));
        assert_eq!(parse(&told.replace("hostkeys true", "hostkeys false")), None, "who forbids it is obeyed");
        assert_eq!(parse(&told.replace("/h/.ssh/known_hosts", "none")), None);
    }

    #[test]
    fn only_a_key_becomes_a_line() {
        assert!(is_key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"));
        for wrong in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA comment",
            "ssh-ed25519 A\n* ssh-ed25519 B",
            "x AAAA",
            "ssh-ed25519  A",
        ] {
            assert!(!is_key(wrong), "{wrong:?}");
        }
    }
}
