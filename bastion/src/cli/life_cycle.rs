//! `backup FILE`, `restore FILE`, `sealing-key rotate` without a running bastion, and `log verify --file FILE`: what is done
//! on this side, with files.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::VERSION;
use wgmfa_core::message::admin::AdminRequest;
use wgmfa_system::trusted::io_words;

use super::ask;
use crate::admin::{tell_resealed, tell_verified};
use crate::config::Config;
use crate::credential;
use crate::keeper::only_one;
use crate::store::{Actor, BackupHead, SealingKey, Store, restore as put_back, verify_export};
use crate::voice;

/// `backup`: to standard output as the keeper sends it; to a file that nobody else can read, which appears when it is whole.
///
/// # Errors
/// The file is there already, cannot be written, or the keeper cannot be asked.
pub fn backup(config: &Config, file: &Path, force: bool, json: bool) -> Result<u8, Failure> {
    let words = ["backup", "-"].map(str::to_owned).to_vec();
    if file == Path::new("-") {
        let terminal = std::io::stdout().is_terminal();
        let request = AdminRequest { version: VERSION, words, stdin: None, terminal, colour: false };
        return ask::print(config, &request);
    }
    let failed =
        |error: &std::io::Error| Failure::new(Exit::Failed, format!("{}: {}", file.display(), io_words(error)));
    let exists =
        || Failure::new(Exit::Failed, format!("{}: is there already", file.display())).hint("--force replaces it");
    if !force && file.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let unfinished = Unfinished(beside(file));
    let opened = File::options().write(true).create_new(true).mode(0o600).open(&unfinished.0);
    let mut copy = opened.map_err(|error| failed(&error))?;
    let request = AdminRequest { version: VERSION, words, stdin: None, terminal: false, colour: false };
    let mut written = Ok(());
    let exit = ask::converse_or_say_why(config, &request, |reply| {
        voice::complain(&reply.stderr);
        if written.is_ok() {
            written = copy.write_all(reply.stdout.expose().as_bytes());
        }
    })?;
    if exit != 0 {
        return Ok(exit);
    }
    written.and_then(|()| copy.sync_all()).map_err(|error| failed(&error))?;
    if force {
        std::fs::rename(&unfinished.0, file).map_err(|error| failed(&error))?;
    } else {
        // unlike a renaming this never replaces a file
        std::fs::hard_link(&unfinished.0, file).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(),
            _ => failed(&error),
        })?;
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(&error))?;
    tell_backup(file, json)
}

fn tell_backup(file: &Path, json: bool) -> Result<u8, Failure> {
    let mut first = String::new();
    let read = File::open(file).and_then(|file| BufReader::new(file).read_line(&mut first));
    let head = read.ok().and_then(|_| serde_json::from_str::<BackupHead>(&first).ok());
    let damaged = || Failure::new(Exit::Failed, format!("{}: is not what was written", file.display()));
    let BackupHead { made, log_head, sealing_key, .. } = head.ok_or_else(damaged)?;
    let shown = file.display().to_string();
    voice::say(&match json {
        true => format!(
            "{}\n",
            serde_json::json!({
                "version": 1, "changed": true, "file": shown, "made": made, "log_head": log_head,
                "sealing_key": sealing_key,
            })
        ),
        false => format!("{shown}: all up to line {} of the audit log\n", log_head.seq),
    });
    Ok(Exit::Done.code())
}

/// A file beside another one.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    name.into()
}

/// A file that is removed in the end, whatever happens.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// `restore`: puts a backup in the place of the store. The bastion must be stopped.
///
/// # Errors
/// The bastion runs, or the backup is none, damaged, or sealed with another key: then nothing was changed.
pub fn restore(config: &Config, file: &Path, json: bool) -> Result<Exit, Failure> {
    let backup: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let opened = File::open(file);
        let failed = |error| Failure::new(Exit::Failed, format!("{}: {}", file.display(), io_words(&error)));
        Box::new(BufReader::new(opened.map_err(failed)?))
    };
    let sealing = SealingKey::read(&credential::or_file(config)).map_err(|failure| match credential::stored() {
        Some(path) if !config.sealing_key.exists() => failure.hint(format!(
            "the sealing key is a systemd credential: systemd-run --pipe --wait -p \
             LoadCredentialEncrypted=wgmfa.sealing-key:{} wgmfa-bastion restore FILE",
            path.display()
        )),
        _ => failure,
    })?;
    let _only = only_one(&config.state_dir)?;
    let restored = put_back(&config.state_dir, backup, sealing, Timestamp::now())?;
    let BackupHead { made, log_head, .. } = &restored.head;
    let replaced = restored.replaced.as_ref().map(|path| path.display().to_string());
    if json {
        let answer = serde_json::json!({
            "version": 1, "changed": true, "made": made, "log_head": log_head, "replaced": replaced,
        });
        voice::say(&format!("{answer}\n"));
        return Ok(Exit::Done);
    }
    let kept = replaced.map(|path| format!("the store that was there is now {path}\n")).unwrap_or_default();
    voice::say(&format!(
        "restored from the backup of {made:.0}, up to line {} of the audit log\n{kept}all sessions are locked; one-time codes \
         are good again from the next but one on; recovery codes and invitations are void\npeople, hosts and devices are as \
         they were then: remove or disable again whom you have removed or disabled since\nstart the bastion: each server gets \
         new keys at its first contact\n",
        log_head.seq
    ));
    Ok(Exit::Done)
}

/// `sealing-key rotate` when no bastion runs; none: one does, and is to be asked.
///
/// # Errors
/// The store cannot be opened or written, or the key's folder takes no file.
pub fn change_sealing_key(config: &Config, json: bool) -> Option<Result<Exit, Failure>> {
    let _only = only_one(&config.state_dir).ok()?;
    let change = || {
        let store = Store::open_with(&config.state_dir, &config.sealing_key)?;
        let actor = Actor { name: Some("root"), from: None };
        let records = store.change_sealing_key(Timestamp::now(), actor, &config.sealing_key)?;
        voice::say(&tell_resealed(records, &store.sealing_key_name(), json));
        Ok(Exit::Done)
    };
    Some(change())
}

/// `log verify --file`: an export by itself.
///
/// # Errors
/// It cannot be read, is no export, or is not as it was written.
pub fn verify(file: &Path, json: bool) -> Result<u8, Failure> {
    let verified = if file == Path::new("-") {
        verify_export(std::io::stdin().lock())
    } else {
        let opened = File::open(file).map_err(|error| io_words(&error));
        opened.and_then(|file| verify_export(BufReader::new(file)))
    };
    let shown = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let verified = verified.map_err(|what| {
        Failure::new(Exit::Failed, format!("{shown}: {what}"))
            .hint("name a file as wgmfa-bastion log export --before TIME writes it; - is standard input")
    })?;
    let outcome = tell_verified(verified, &[], json)?;
    voice::say(outcome.reply.stdout.expose());
    Ok(outcome.reply.exit.unwrap_or_default())
}
