//! The PAM stack of the bastion's service: is every login asked for both factors by our module?

pub mod stack;

use std::path::{Path, PathBuf};

use wgmfa_core::exit::{Exit, Failure};

use self::stack::{Entry, Kind, read};
use super::Findings;
use crate::config::{Config, FirstFactor};

/// Where machines keep PAM modules, besides the folder of their architecture (`/usr/lib/*/security`).
const MODULE_FOLDERS: [&str; 4] = ["/usr/lib64/security", "/usr/lib/security", "/lib64/security", "/lib/security"];

/// What every Linux-PAM takes for a service that has no file.
const OTHER: &str = "PAM would take the service 'other' in its place";

/// Makes sure that the service has a file, and that nobody but root can have written it.
///
/// # Errors
/// It has none, or the file cannot be trusted.
pub fn require_service(config: &Config) -> Result<(), Failure> {
    let path = config.pam_file();
    if !path.exists() {
        let error = format!("{}: no such PAM service file: {OTHER}", path.display());
        return Err(Failure::new(Exit::Usage, error).hint("wgmfa-bastion init makes it"));
    }
    stack::text(&path).map(drop)
}

/// The PAM service of the site's own sshd, which people come by when the bastion does not listen itself.
const SSHD: &str = "sshd";

/// Faults of the stack; with `listen = []` also of the one by which people come.
pub fn check(config: &Config, findings: &mut Findings) {
    match require_service(config) {
        Ok(()) => check_service(&config.pam_file(), config, findings),
        Err(failure) => findings.failure(&failure),
    }
    let site = config.pam_file().with_file_name(SSHD);
    if !config.listen.is_empty() || site == config.pam_file() {
        return;
    }
    if !site.exists() {
        return findings
            .fault(format!("{}: no such PAM service file, and listen = []: nobody can log in", site.display()));
    }
    check_service(&site, config, findings);
    if !read(&site).0.iter().any(|entry| entry.kind == Kind::Session && entry.ours()) {
        let text = format!("{}: no line 'session required pam_wgmfa.so'", site.display());
        findings
            .fault(format!("{text}: no session that passed the code is told to the keeper, and nothing is released"));
    }
}

fn check_service(path: &Path, config: &Config, findings: &mut Findings) {
    let (entries, faults) = read(path);
    for fault in faults {
        findings.fault(fault);
    }
    let auth: Vec<&Entry> = entries.iter().filter(|entry| entry.kind == Kind::Auth).collect();
    check_auth(&auth, path, config, findings);
    if !entries.iter().any(|entry| entry.kind == Kind::Account) {
        findings.fault(format!("{}: no account line: {OTHER} (account required pam_wgmfa.so)", path.display()));
    } else if !entries.iter().any(|entry| entry.kind == Kind::Account && entry.ours()) {
        findings.warning(format!("{}: no line 'account required pam_wgmfa.so'", path.display()));
    }
    let listens = config.keeper_socket();
    let elsewhere = |entry: &&Entry| entry.ours() && in_real_folder(entry.socket()) != in_real_folder(&listens);
    for entry in entries.iter().filter(elsewhere) {
        let (at, asks, listens) = (&entry.place, entry.socket().display(), listens.display());
        let text = format!("{at}: pam_wgmfa.so asks the keeper at {asks}, which listens at {listens}");
        findings.fault(format!("{text}: every login will be refused (socket={listens})"));
    }
    let mut modules: Vec<&str> =
        entries.iter().filter(|entry| entry.ours()).map(|entry| entry.module.as_str()).collect();
    modules.dedup();
    for module in modules {
        if module_file(module).is_none() {
            findings.fault(format!("{module}: no such PAM module on this machine"));
        }
    }
}

fn check_auth(auth: &[&Entry], path: &Path, config: &Config, findings: &mut Findings) {
    let Some(ours) = auth.iter().position(|entry| entry.ours()) else {
        let hint = "auth required pam_wgmfa.so";
        let what = if config.require_code { "every login will be refused" } else { "nobody is asked for a code by it" };
        let text = format!("{}: pam_wgmfa.so is not in the auth stack: {what} ({hint})", path.display());
        if config.require_code {
            findings.fault(text)
        } else {
            findings.warning(text)
        }
        return;
    };
    let entry = auth[ours];
    if !entry.must_succeed() {
        let text =
            format!("{}: pam_wgmfa.so is '{}', so its refusal does not end the login", entry.place, entry.control);
        findings.fault(format!("{text} (make it 'required')"));
    }
    for (at, before) in auth[..ours].iter().enumerate() {
        if before.may_end_the_stack() {
            let text = format!("{}: '{}' before pam_wgmfa.so lets a single factor pass", before.place, before.control);
            findings.fault(format!("{text} (make it 'required')"));
        } else if before.longest_jump() > ours - at - 1 {
            let text = format!("{}: '{}' jumps over pam_wgmfa.so", before.place, before.control);
            findings.fault(format!("{text} and lets a single factor pass"));
        }
    }
    let asks = |question: &str| {
        let ours = || auth.iter().filter(|entry| entry.ours());
        ours().any(|entry| entry.asks(question))
    };
    if !asks("otp") && config.require_code {
        findings.fault(format!("{}: pam_wgmfa.so does not ask for the code: every login will be refused", entry.place));
    }
    let other_password = auth.iter().any(|entry| !entry.ours() && !entry.is_a_formality());
    if !asks("password") && !other_password && config.first_factor != FirstFactor::Publickey {
        let text = format!("{}: the stack asks for a code and for no password", entry.place);
        findings.fault(format!("{text}: it lets a single factor pass"));
    }
}

/// A path without the links of its folder: `/var/run` is `/run` on most machines.
fn in_real_folder(path: &Path) -> PathBuf {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    folder.zip(path.file_name()).map_or(path.to_owned(), |(folder, name)| folder.join(name))
}

/// The file of a PAM module: an absolute path, or the name of a file where this machine keeps them.
pub fn module_file(module: &str) -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let by_architecture = folders.map(|entry| entry.path().join("security"));
    let folders = MODULE_FOLDERS.iter().map(PathBuf::from).chain(by_architecture);
    // joining an absolute path gives that path
    folders.map(|folder| folder.join(module)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests;
