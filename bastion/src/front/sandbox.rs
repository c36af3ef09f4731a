//! What the front takes from itself before it reads a byte: it holds sockets, and needs nothing else.
//!
//! The keeper has already put it under its own user without groups. Every step is tried; what this kernel lacks is
//! named in the log, and the front still runs.

use landlock::RulesetStatus;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use super::{log, seccomp};
use crate::confine;

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
    try_to("drop capabilities", confine::keep_capabilities(&[]));
    match confine::fence_off_everything() {
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
