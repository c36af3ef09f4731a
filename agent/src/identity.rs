//! This host's SSH key, and the proof that it gives of itself.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::agent::{SIGNATURE_NAMESPACE, signed_text};
use wgmfa_core::name::HostName;
use wgmfa_system::trusted::{self, Readers};
use zeroize::Zeroizing;

/// A new key, in OpenSSH's format, for a file that only root can read.
pub fn make(host: &HostName) -> Zeroizing<String> {
    let mut key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).expect("ed25519 is built in");
    key.set_comment(format!("wgmfa-agent@{host}"));
    key.to_openssh(LineEnding::LF).expect("a key without a passphrase can be written")
}

/// Reads the key.
///
/// # Errors
/// The file cannot be trusted, or holds no private key that can be used without a passphrase.
pub fn read(path: &Path) -> Result<Arc<PrivateKey>, Failure> {
    let text = trusted::read_text(path, Readers::Owner)
        .map_err(|failure| if path.exists() { failure } else { failure.hint("make one with wgmfa-agent init") })?;
    let key = PrivateKey::from_openssh(text.as_bytes()).ok().filter(|key| !key.is_encrypted());
    let fault =
        || Failure::new(Exit::Usage, format!("{}: not an OpenSSH private key without a passphrase", path.display()));
    key.map(Arc::new).ok_or_else(fault)
}

/// Where a key lies that is to take the place of another one.
pub fn next_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

/// The key that is to take the place of this host's key, if there is one.
///
/// # Errors
/// As [`read`].
pub fn next(path: &Path) -> Result<Option<Arc<PrivateKey>>, Failure> {
    let next = next_path(path);
    if next.symlink_metadata().is_err() { Ok(None) } else { read(&next).map(Some) }
}

/// Puts the next key in the place of this host's key, in one step.
///
/// # Errors
/// The folder cannot be written.
pub fn put_next_in_place(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let renamed = std::fs::rename(next_path(path), path).and_then(|()| File::open(folder)?.sync_all());
    renamed.map_err(|error| {
        Failure::new(Exit::Failed, format!("{}: {}", path.display(), error.to_string().to_lowercase()))
    })
}

/// The line that `wgmfa-bastion host add --key` takes.
pub fn public_line(key: &PrivateKey) -> String {
    key.public_key().to_openssh().expect("a public key is plain data")
}

/// An SSH signature (OpenSSH PROTOCOL.sshsig) over the bastion's nonce.
pub fn prove(key: &PrivateKey, host: &HostName, nonce: &str) -> Result<String, Failure> {
    let signed = key.sign(SIGNATURE_NAMESPACE, HashAlg::Sha512, signed_text(nonce, host).as_bytes());
    let pem = signed.and_then(|signature| signature.to_pem(LineEnding::LF));
    pem.map_err(|error| Failure::new(Exit::Failed, format!("the identity cannot sign: {error}")))
}

#[cfg(test)]
mod tests {
    use russh::keys::ssh_key::SshSig;

    use super::*;

    #[test]
    fn a_proof_is_good_for_this_host_and_nonce_alone() {
        let host: HostName = "app-gw".parse().unwrap();
        let key = PrivateKey::from_openssh(make(&host).as_bytes()).unwrap();
        let signature = SshSig::from_pem(prove(&key, &host, "n1").unwrap()).unwrap();
        let good = |text: &str| key.public_key().verify(SIGNATURE_NAMESPACE, text.as_bytes(), &signature).is_ok();
        assert!(good("wgmfa-agent-v1 app-gw n1"));
        assert!(!good("wgmfa-agent-v1 app-gw n2") && !good("wgmfa-agent-v1 db-gw n1"));
        assert!(public_line(&key).starts_with("ssh-ed25519 ") && public_line(&key).ends_with(" wgmfa-agent@app-gw"));
    }
}
