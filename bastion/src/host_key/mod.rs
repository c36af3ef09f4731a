//! `host-key`: the bastion's SSH host keys as other machines take them.

pub mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::{Algorithm, HashAlg, PrivateKey, PublicKey};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_system::trusted::{self, Readers};

use self::change::Beside;
use crate::config::Config;

/// The public halves of the host keys.
///
/// # Errors
/// A key file cannot be trusted, or holds no OpenSSH private key that can be used without a passphrase.
pub fn public_keys(config: &Config) -> Result<Vec<PublicKey>, Failure> {
    config.host_keys.iter().map(|path| public_key(path)).collect()
}

/// The public half of one private key file.
///
/// # Errors
/// As [`public_keys`].
pub fn public_key(path: &Path) -> Result<PublicKey, Failure> {
    let text = trusted::read(path, Readers::Owner)?;
    let key = PrivateKey::from_openssh(&*text).map_err(|_| {
        Failure::new(Exit::Usage, format!("{}: not an OpenSSH private key", path.display()))
            .hint("ssh-keygen -t ed25519 -N '' makes one, and so does wgmfa-bastion init when the file is missing")
    })?;
    if key.is_encrypted() {
        let shown = path.display();
        let error = format!("{shown}: encrypted with a passphrase, and at a start nobody is there to type it");
        return Err(Failure::new(Exit::Usage, error).hint(format!("ssh-keygen -p -N '' -f {shown}")));
    }
    Ok(key.public_key().clone())
}

/// Every key by which the bastion may be known, as agents hear it: those in use first, then those that come next, then
/// those that were in use before and are not retired.
///
/// # Errors
/// As [`public_keys`].
pub fn announced(config: &Config) -> Result<Vec<String>, Failure> {
    let (keys, Beside { next, old }) = (public_keys(config)?, Beside::look(config)?);
    let mut lines: Vec<String> = keys.iter().chain(&next).chain(&old).map(one_line).collect();
    let mut seen = BTreeSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    Ok(lines)
}

/// Where the public half of a host key is.
pub fn public_half(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Lines for known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): for each port on which the bastion listens, under the
/// machine's name and each address that it names in its configuration; the keys in use, and those that come next.
///
/// # Errors
/// As [`public_keys`].
pub fn known_hosts(config: &Config, name: &str) -> Result<String, Failure> {
    let mut ports: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for address in config.listen.iter().chain(&config.agent_listen) {
        let names = ports.entry(address.port()).or_insert_with(|| vec![name.to_owned()]);
        let numeric = address.ip().to_string();
        if !address.ip().is_unspecified() && !names.contains(&numeric) {
            names.push(numeric);
        }
    }
    let mut keys = public_keys(config)?;
    keys.extend(Beside::look(config)?.next);
    let mut lines = String::new();
    for (port, names) in ports {
        let with_port = |name: &String| if port == 22 { name.clone() } else { format!("[{name}]:{port}") };
        let hosts = names.iter().map(with_port).collect::<Vec<_>>().join(",");
        for key in &keys {
            lines.push_str(&format!("{hosts} {}\n", one_line(key)));
        }
    }
    Ok(lines)
}

/// SSHFP records (RFC 4255, with the SHA-256 of RFC 6594).
///
/// # Errors
/// As [`public_keys`].
pub fn sshfp(config: &Config, name: &str) -> Result<String, Failure> {
    let mut lines = String::new();
    for key in public_keys(config)?.into_iter().chain(Beside::look(config)?.next) {
        // RFC 4255 (RSA), RFC 6594 (ECDSA), RFC 7479 (Ed25519)
        let algorithm = match key.algorithm() {
            Algorithm::Rsa { .. } => 1,
            Algorithm::Ecdsa { .. } => 3,
            Algorithm::Ed25519 => 4,
            _ => continue,
        };
        let fingerprint = key.fingerprint(HashAlg::Sha256);
        let hex: String = fingerprint.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push_str(&format!("{name} IN SSHFP {algorithm} 2 {hex}\n"));
    }
    Ok(lines)
}

/// `ssh-ed25519 AAAA…` without the comment.
pub fn one_line(key: &PublicKey) -> String {
    let mut key = key.clone();
    key.set_comment("");
    key.to_openssh().map(|line| line.trim_end().to_owned()).unwrap_or_default()
}

/// What this machine calls itself.
pub fn machine_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "bastion".to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// OpenSSH is the judge.
    fn ssh_keygen(arguments: &[&str]) -> String {
        let output = Command::new("ssh-keygen").args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn host_keys_are_written_as_openssh_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let shown = path.to_str().unwrap();
        ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "wgmfa", "-f", shown]);
        let mut config = Config::parse(Path::new("/e/bastion.toml"), "").unwrap();
        config.host_keys = vec![path.clone()];

        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let public = public.trim_end().strip_suffix(" wgmfa").unwrap();
        assert_eq!(known_hosts(&config, "bastion").unwrap(), format!("[bastion]:2222 {public}\n"));
        config.listen = vec!["0.0.0.0:22".parse().unwrap()];
        assert_eq!(known_hosts(&config, "bastion").unwrap(), format!("bastion {public}\n"));

        let listen = ["192.0.2.1:2222", "[2001:db8::1]:2222", "0.0.0.0:2222", "192.0.2.1:22"];
        config.listen = listen.iter().map(|address| address.parse().unwrap()).collect();
        config.agent_listen = vec!["192.0.2.1:2222".parse().unwrap(), "[::]:2223".parse().unwrap()];
        let lines = known_hosts(&config, "bastion").unwrap();
        let expected = format!(
            "bastion,192.0.2.1 {public}\n[bastion]:2222,[192.0.2.1]:2222,[2001:db8::1]:2222 {public}\n[bastion]:2223 {public}\n"
        );
        assert_eq!(lines, expected);
        let file = folder.path().join("known_hosts");
        std::fs::write(&file, &lines).unwrap();
        for host in ["bastion", "192.0.2.1", "[192.0.2.1]:2222", "[2001:db8::1]:2222", "[bastion]:2223"] {
            assert!(ssh_keygen(&["-F", host, "-f", file.to_str().unwrap()]).contains(public), "{host}");
        }

        let records = ssh_keygen(&["-r", "bastion", "-f", &format!("{shown}.pub")]);
        let sha256 = records.lines().find(|line| line.contains(" SSHFP 4 2 ")).unwrap();
        assert_eq!(sshfp(&config, "bastion").unwrap(), format!("{sha256}\n"));
    }

    #[test]
    fn a_host_key_with_a_passphrase_is_refused_with_what_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let shown = path.to_str().unwrap();
        ssh_keygen(&["-q", "-t", "ed25519", "-N", "five words", "-f", shown]);
        let mut config = Config::parse(Path::new("/e/bastion.toml"), "").unwrap();
        config.host_keys = vec![path.clone()];
        let failure = public_keys(&config).unwrap_err();
        let error = format!("{shown}: encrypted with a passphrase, and at a start nobody is there to type it");
        assert_eq!((failure.exit, failure.error), (Exit::Usage, error));
        assert_eq!(failure.hint, Some(format!("ssh-keygen -p -N '' -f {shown}")));
    }
}
