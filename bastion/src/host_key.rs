//! `host-key`: the bastion's SSH host keys as other machines take them.

use russh::keys::ssh_key::{Algorithm, HashAlg, PrivateKey, PublicKey};
use wgmfa_core::exit::{Exit, Failure};

use crate::config::Config;
use crate::trusted;

/// The public halves of the host keys.
///
/// # Errors
/// A key file cannot be trusted, or holds no OpenSSH private key.
pub fn public_keys(config: &Config) -> Result<Vec<PublicKey>, Failure> {
    let mut keys = Vec::new();
    for path in &config.host_keys {
        let text = trusted::read_secret(path)?;
        let key = PrivateKey::from_openssh(&*text).map_err(|_| {
            Failure::new(Exit::Usage, format!("{}: not an OpenSSH private key", path.display()))
                .hint("ssh-keygen -t ed25519 -N '' makes one, and so does wgmfa-bastion init when the file is missing")
        })?;
        keys.push(key.public_key().clone());
    }
    Ok(keys)
}

/// Lines for known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), for each port that the bastion listens on.
///
/// # Errors
/// As [`public_keys`].
pub fn known_hosts(config: &Config, name: &str) -> Result<String, Failure> {
    let mut ports: Vec<u16> = config.listen.iter().chain(&config.agent_listen).map(|address| address.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    let keys = public_keys(config)?;
    let mut lines = String::new();
    for port in ports {
        let host = if port == 22 { name.to_owned() } else { format!("[{name}]:{port}") };
        for key in &keys {
            lines.push_str(&format!("{host} {}\n", one_line(key)));
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
    for key in public_keys(config)? {
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
    use std::path::Path;
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

        let records = ssh_keygen(&["-r", "bastion", "-f", &format!("{shown}.pub")]);
        let sha256 = records.lines().find(|line| line.contains(" SSHFP 4 2 ")).unwrap();
        assert_eq!(sshfp(&config, "bastion").unwrap(), format!("{sha256}\n"));
    }
}
