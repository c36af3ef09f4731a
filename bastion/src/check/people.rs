//! The site's own sshd in place of the front (`listen = []`): its PAM stack, the group and the program through which
//! people ask.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Group};
use wgmfa_core::exit::{Exit, Failure};

use super::Findings;
use super::pam::stack::{Entry, Kind, read};
use crate::config::Config;

/// The PAM service of OpenSSH's server on Linux.
const SERVICE: &str = "/etc/pam.d/sshd";

/// Where the program may be.
const PROGRAMS: [&str; 2] = ["/usr/bin/wgmfa-sync", "/usr/local/bin/wgmfa-sync"];

/// The group of the program through which people ask.
///
/// # Errors
/// There is none of that name, or it is root's.
pub fn group(config: &Config) -> Result<Gid, Failure> {
    found(config).map(|group| group.gid)
}

fn found(config: &Config) -> Result<Group, Failure> {
    let name = &config.people_group;
    let failure = |what: String| Failure::new(Exit::Usage, format!("people-group: {what}"));
    match Group::from_name(name) {
        Ok(Some(group)) if group.gid.as_raw() != 0 => Ok(group),
        Ok(Some(_)) => Err(failure(format!("{name} is the group of root")).hint("name a group of its own")),
        _ => Err(failure(format!("there is no group {name} on this machine: who comes by sshd gets no keys"))
            .hint(format!("groupadd --system {name}"))),
    }
}

/// Faults of this way, where it is the only one.
pub fn check(config: &Config, findings: &mut Findings) {
    if !config.listen.is_empty() {
        return;
    }
    if !check_stack(Path::new(SERVICE), findings) {
        return;
    }
    match found(config) {
        Err(failure) => findings.failure(&failure),
        Ok(group) => {
            for member in &group.mem {
                let name = &group.name;
                findings.warning(format!("group {name}: {member} is in it: it is for the program wgmfa-sync alone"));
            }
            check_program(&PROGRAMS.map(Path::new), &group, findings);
        }
    }
}

/// Whether people come this way.
fn check_stack(service: &Path, findings: &mut Findings) -> bool {
    let (at, path) = (service.display(), service);
    let (entries, _) = if path.exists() { read(path) } else { Default::default() };
    let ours = |kind: Kind| entries.iter().filter(move |entry| entry.kind == kind && entry.ours()).collect::<Vec<_>>();
    let (auth, session): (Vec<&Entry>, Vec<&Entry>) = (ours(Kind::Auth), ours(Kind::Session));
    if !auth.iter().any(|entry| entry.asks("otp")) {
        findings.warning(format!("{at}: listen = [], and no line 'auth required pam_wgmfa.so otp': nobody gets keys"));
        return false;
    }
    for entry in auth.iter().filter(|entry| !entry.must_succeed()) {
        let text =
            format!("{}: pam_wgmfa.so is '{}', so its refusal does not end the login", entry.place, entry.control);
        findings.warning(format!("{text} (make it 'required')"));
    }
    if session.is_empty() {
        findings.fault(format!("{at}: no line 'session required pam_wgmfa.so': who comes by sshd gets no keys"));
    }
    true
}

/// The program has the group, and nobody else can have written it.
fn check_program(places: &[&Path], group: &Group, findings: &mut Findings) {
    let Some((path, file)) = places.iter().find_map(|path| Some((path, path.metadata().ok()?))) else {
        let places: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
        return findings.fault(format!("wgmfa-sync is not installed: neither {}", places.join(" nor ")));
    };
    let (at, name) = (path.display(), &group.name);
    if file.gid() != group.gid.as_raw() || file.mode() & 0o2010 != 0o2010 {
        findings.fault(format!("{at}: is not set-group-id {name} (chgrp {name} {at} && chmod 2755 {at})"));
    } else if file.uid() != 0 || file.mode() & 0o022 != 0 {
        findings.fault(format!("{at}: others than root can write to it (chown root {at} && chmod 2755 {at})"));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn of_stack(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let service = folder.path().join("sshd");
        std::fs::write(&service, text).unwrap();
        let mut findings = Findings::default();
        check_stack(&service, &mut findings);
        findings.render(false).replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn the_stack_must_ask_for_the_code_and_tell_of_the_session() {
        let good = "auth required pam_wgmfa.so otp\nsession required pam_wgmfa.so\n";
        assert_eq!(of_stack(good), "no faults\n");
        assert_eq!(
            of_stack("auth required pam_wgmfa.so otp\n"),
            "sshd: no line 'session required pam_wgmfa.so': who comes by sshd gets no keys\n1 fault\n"
        );
        assert_eq!(
            of_stack(&good.replace("auth required", "auth optional")),
            "warning: sshd:1: pam_wgmfa.so is 'optional', so its refusal does not end the login (make it 'required')\nno \
             faults, 1 warning\n"
        );
        for nobody in ["", "auth required pam_unix.so\n", "auth required pam_wgmfa.so password\n"] {
            assert_eq!(
                of_stack(nobody),
                "warning: sshd: listen = [], and no line 'auth required pam_wgmfa.so otp': nobody gets keys\nno faults, 1 \
                 warning\n"
            );
        }
    }

    #[test]
    fn the_program_must_be_set_group_id() {
        let folder = tempfile::tempdir().unwrap();
        let (missing, program) = (folder.path().join("missing"), folder.path().join("wgmfa-sync"));
        let group = Group::from_gid(nix::unistd::getegid()).unwrap().unwrap();
        let told = |places: &[&Path]| {
            let mut findings = Findings::default();
            check_program(places, &group, &mut findings);
            findings.faults
        };
        assert!(told(&[&missing])[0].starts_with("wgmfa-sync is not installed: neither "));
        std::fs::write(&program, "").unwrap();
        for (mode, words) in
            [(0o755, "is not set-group-id"), (0o2744, "is not set-group-id"), (0o2777, "others than root")]
        {
            std::fs::set_permissions(&program, PermissionsExt::from_mode(mode)).unwrap();
            let told = told(&[&missing, &program]);
            assert!(told.len() == 1 && told[0].contains(words), "{mode:o}: {told:?}");
        }
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o2755)).unwrap();
        let expected = if nix::unistd::geteuid().is_root() { 0 } else { 1 };
        assert_eq!(told(&[&missing, &program]).len(), expected);
    }
}
