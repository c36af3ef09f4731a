//! What the front takes from itself before it reads a byte: it holds sockets, and needs nothing else.
//!
//! The keeper has already put it under its own user without groups. Every step is tried; what this kernel lacks is
//! named in the log, and the front still runs.
#![allow(unsafe_code)]

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope};
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use super::{log, seccomp};

/// The newest landlock interface whose rights are asked for: files, TCP, devices, signals and abstract sockets.
const LANDLOCK: ABI = ABI::V6;

/// Gives up files, network, privileges and children. Before any thread is started.
pub fn enter() {
    try_to("set no_new_privs", prctl::set_no_new_privs());
    try_to("become undumpable", prctl::set_dumpable(false));
    // after the change of user, which clears it
    try_to("die with the keeper", prctl::set_pdeathsig(Signal::SIGKILL));
    try_to("refuse core files", setrlimit(Resource::RLIMIT_CORE, 0, 0));
    try_to("refuse children", setrlimit(Resource::RLIMIT_NPROC, 0, 0));
    try_to(
        "hold many sockets",
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard)),
    );
    try_to("drop capabilities", drop_capabilities());
    match no_files_no_tcp() {
        Ok(RulesetStatus::NotEnforced) => log::line("warning: this kernel has no landlock: files are not fenced off"),
        Ok(RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced) => {}
        Err(error) => log::line(&format!("warning: sandbox: landlock: {error}")),
    }
    // last: it refuses the calls above
    if let Err(error) = seccomp::enter() {
        log::line(&format!("warning: sandbox: seccomp: {error}"));
    }
}

fn try_to(what: &str, done: nix::Result<()>) {
    if let Err(error) = done {
        log::line(&format!("warning: sandbox: cannot {what}: {}", error.desc()));
    }
}

/// No path and no port is named, so none is allowed; sockets that are already open go on.
fn no_files_no_tcp() -> Result<RulesetStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    Ok(ruleset.restrict_self()?.ruleset)
}

/// The argument of capset(2), version 3: the header, then two halves of three sets.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Empties the bounding set as far as the kernel lets us, then the ambient set and the three sets of this process.
fn drop_capabilities() -> nix::Result<()> {
    for capability in 0..64 {
        // SAFETY: a number goes in and nothing comes out; unknown and forbidden ones are refused by the kernel, which
        // changes nothing: without privileges there is nothing to take away, as no_new_privs is set.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    // SAFETY: numbers go in and nothing comes out.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    let header = Header { version: CAPABILITY_VERSION_3, pid: 0 };
    let none = [0u32; 6];
    // SAFETY: both pointers are valid for the call and have the layout that version 3 asks for.
    nix::errno::Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) }).map(drop)
}
