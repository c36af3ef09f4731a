//! The sealing key as a systemd credential (systemd.exec(5), Credentials): there the key can be bound to the machine's TPM,
//! and lies on no disk in clear.

use std::path::{Path, PathBuf};

use crate::config::Config;

/// The name of the credential.
const NAME: &str = "wgmfa.sealing-key";

/// The folder in which the service manager looks for it (`LoadCredentialEncrypted=` of wgmfa-bastion.service, systemd 252).
const STORE: &str = "/etc/credstore.encrypted";

/// The credential that this process was started with; none: there is no such.
pub fn sealing_key() -> Option<PathBuf> {
    let path = Path::new(&std::env::var_os("CREDENTIALS_DIRECTORY")?).join(NAME);
    path.exists().then_some(path)
}

/// Where the running bastion reads the sealing key: the credential goes before the file.
pub fn or_file(config: &Config) -> PathBuf {
    sealing_key().unwrap_or_else(|| config.sealing_key.clone())
}

/// Where the service manager will find it, as far as one can see from outside of the service; none: the file is needed.
pub fn stored() -> Option<PathBuf> {
    Some(Path::new(STORE).join(NAME)).filter(|path| path.exists())
}
