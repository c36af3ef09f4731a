//! `init`: makes what a bastion needs and does not have yet, and says what to do next. It overwrites nothing.

mod next_steps;
mod texts;

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};
use rand::Rng as _;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::ssh_key::{LineEnding, PrivateKey};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_system::trusted;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::{credential, host_key, voice};

/// Makes configuration, PAM service, keys, folders and a sample policy: below `dir` for a trial, else where the
/// configuration at `config` says or the documented places are.
///
/// # Errors
/// Something cannot be written, or what is there already is broken.
pub fn run(dir: Option<&Path>, config: &Path, json: bool) -> Result<Exit, Failure> {
    if dir.is_none() && !geteuid().is_root() {
        return Err(Failure::new(Exit::Failed, "init writes below /etc, /var and /run: only root can do that")
            .hint("run it as root, or give --dir DIR for a trial"));
    }
    let mut made = Made::default();
    let path = match dir {
        Some(dir) => {
            made.folder(dir, 0o755)?;
            let dir = dir.canonicalize().map_err(|error| cannot(dir, &error))?;
            let path = dir.join("bastion.toml");
            made.file(&path, 0o644, || texts::trial_configuration(&dir, front_user()).into_bytes())?;
            path
        }
        None => {
            made.folder(config.parent().unwrap_or(Path::new("/")), 0o755)?;
            made.file(config, 0o644, || texts::configuration().into_bytes())?;
            config.to_owned()
        }
    };
    let config = Config::load(&path)?;
    the_rest(&mut made, &config)?;
    if json {
        let paths: Vec<_> = made.0.iter().map(|path| path.display().to_string()).collect();
        let answer = serde_json::json!({ "version": 1, "changed": !paths.is_empty(), "made": paths });
        voice::say(&format!("{answer}\n"));
    } else {
        let mut text: String = made.0.iter().map(|path| format!("made {}\n", path.display())).collect();
        if text.is_empty() {
            text.push_str("unchanged\n");
        }
        text.push_str(&next_steps::text(&config, dir.is_some())?);
        voice::say(&text);
    }
    Ok(Exit::Done)
}

/// What the configuration names and what is missing.
fn the_rest(made: &mut Made, config: &Config) -> Result<(), Failure> {
    let pam_file = config.pam_file();
    made.folder(pam_file.parent().unwrap_or(Path::new("/")), 0o755)?;
    made.file(&pam_file, 0o644, || texts::pam_service(config).into_bytes())?;
    made.folder(&config.policy_dir, 0o755)?;
    if !has_policies(&config.policy_dir) {
        made.file(&config.policy_dir.join("500-example.toml"), 0o644, || texts::EXAMPLE_POLICY.into())?;
    }
    made.folder(&config.state_dir, 0o700)?;
    made.folder(&config.run_dir, 0o755)?;
    for path in &config.host_keys {
        made.host_key(path)?;
    }
    if !config.sealing_key.exists() && credential::stored().is_some() {
        return Ok(());
    }
    if !config.sealing_key.exists() && !is_empty(&config.state_dir) {
        let error =
            format!("{}: missing, but {} is sealed with it", config.sealing_key.display(), config.state_dir.display());
        return Err(
            Failure::new(Exit::Failed, error).hint("put the sealing key back; a new one cannot open the old store")
        );
    }
    made.folder(config.sealing_key.parent().unwrap_or(Path::new("/")), 0o755)?;
    made.file(&config.sealing_key, 0o600, || {
        let mut key = vec![0; 32];
        rand::rng().fill_bytes(&mut key);
        key
    })
}

/// What was made.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Made {
    fn folder(&mut self, path: &Path, mode: u32) -> Result<(), Failure> {
        if path.is_dir() {
            return Ok(());
        }
        let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(path);
        // the mode of the builder is subject to the umask
        made.and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)))
            .map_err(|error| cannot(path, &error))?;
        self.0.push(path.to_owned());
        Ok(())
    }

    /// Writes a new file; one that is there stays as it is.
    fn file(&mut self, path: &Path, mode: u32, content: impl FnOnce() -> Vec<u8>) -> Result<(), Failure> {
        if path.symlink_metadata().is_ok() {
            return Ok(());
        }
        match trusted::make(path, &Zeroizing::new(content()), mode) {
            Ok(()) => self.0.push(path.to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot(path, &error)),
        }
        Ok(())
    }

    /// An SSH host key (Ed25519) and, beside it, its public half.
    fn host_key(&mut self, path: &Path) -> Result<(), Failure> {
        if path.exists() {
            return Ok(());
        }
        self.folder(path.parent().unwrap_or(Path::new("/")), 0o755)?;
        let mut seed = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(&mut *seed);
        let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
        let failed = |error| Failure::new(Exit::Failed, format!("{}: {error}", path.display()));
        let key = PrivateKey::new(pair, "wgmfa-bastion").map_err(failed)?;
        let private = key.to_openssh(LineEnding::LF).map_err(failed)?;
        let public = key.public_key().to_openssh().map_err(failed)?;
        // the private half last: once it is there, both are
        let public_half = host_key::public_half(path);
        trusted::replace_for(&public_half, format!("{public}\n").as_bytes(), 0o644)
            .map_err(|error| cannot(&public_half, &error))?;
        self.file(path, 0o600, || private.as_bytes().to_vec())?;
        self.0.push(public_half);
        Ok(())
    }
}

/// As whom the front of a trial runs if root starts it: root may not have made a user for it.
fn front_user() -> &'static str {
    let exists = |name| User::from_name(name).is_ok_and(|user| user.is_some());
    if !exists("wgmfa") && exists("nobody") { "nobody" } else { "wgmfa" }
}

fn has_policies(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|end| end == "toml"))
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {}", path.display(), trusted::io_words(error)))
}
