//! What the processes that meet strangers give up for good: capabilities, and power over processes beside them.
#![allow(unsafe_code)]

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope,
};
use nix::libc;

/// The newest landlock interface whose rights are asked for: files, TCP, devices, signals and abstract sockets.
const LANDLOCK: ABI = ABI::V6;

/// A capability, by its bit in linux/capability.h.
#[derive(Debug, Clone, Copy)]
pub enum Capability {
    /// `CAP_CHOWN`
    Chown = 0,
    /// `CAP_DAC_OVERRIDE`
    DacOverride = 1,
    /// `CAP_FOWNER`
    Fowner = 3,
    /// `CAP_SETGID`
    Setgid = 6,
    /// `CAP_SETUID`
    Setuid = 7,
    /// `CAP_AUDIT_WRITE`
    AuditWrite = 29,
}

/// The first argument of capset(2), version 3; the second is two halves of three sets.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Gives up every capability but these: from the bounding set as far as the kernel lets us, all of the ambient and the
/// inheritable set, and from the permitted and the effective set. To be called under `no_new_privs`, so that what the
/// bounding set still has cannot come back through a program.
///
/// # Errors
/// The kernel refuses, and the process has what it had.
pub fn keep_capabilities(kept: &[Capability]) -> nix::Result<()> {
    let mask = kept.iter().fold(0u64, |mask, capability| mask | 1 << *capability as u32);
    for capability in (0..64).filter(|bit| mask & 1 << bit == 0) {
        // SAFETY: a number goes in and nothing comes out; unknown and forbidden ones are refused by the kernel, which
        // changes nothing.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    // SAFETY: numbers go in and nothing comes out.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    let mut header = Header { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: both pointers are valid for the call and have the layout that version 3 asks for.
    let asked = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    nix::errno::Errno::result(asked)?;
    for ([effective, permitted, inheritable], kept) in sets.iter_mut().zip([mask as u32, (mask >> 32) as u32]) {
        *permitted &= kept;
        (*effective, *inheritable) = (*permitted, 0);
    }
    // SAFETY: as above.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    nix::errno::Errno::result(set).map(drop)
}

/// Neither a core file nor a process with the same rights gets at this process's memory, and no descriptor that it was
/// started with goes on to the programs that it starts. What the kernel refuses is done without.
pub fn keep_to_oneself() {
    let _ = nix::sys::prctl::set_dumpable(false);
    // SAFETY: numbers go in; close_range(2) with this flag closes nothing now.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Blocks of memory above this size go back to the kernel as soon as they are free: each password takes 19 MiB for a
/// moment, of which the C library would keep a dozen.
#[cfg(target_env = "gnu")]
const GOES_BACK: libc::c_int = 8 << 20;

/// So much free memory is kept, all in all: what a report of 10,000 peers takes for a moment. Without it the kernel takes
/// and clears these pages for every report again.
#[cfg(target_env = "gnu")]
const STAYS: libc::c_int = 48 << 20;

/// Gives memory back that is free, but for what is needed again soon.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: numbers go in; mallopt(3) changes how the C library allocates from now on, and nothing that is allocated.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, GOES_BACK);
        libc::mallopt(libc::M_TRIM_THRESHOLD, STAYS);
    };
}

/// No file, no TCP, no process outside. No path and no port is named, so none is allowed; sockets that are already open
/// go on.
///
/// # Errors
/// The kernel knows landlock and refuses.
pub fn fence_off_everything() -> Result<RulesetStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    Ok(ruleset.restrict_self()?.ruleset)
}

/// Mounts stay as they are, no device is made, and processes outside can be neither looked into (nor their files, through
/// `/proc/PID/root`) nor signalled. All other use of files goes on as before.
///
/// # Errors
/// The kernel knows landlock and refuses.
pub fn fence_off_neighbours() -> Result<(), RulesetError> {
    // A domain that handles any use of files may not mount, and may not rename between folders unless it is allowed.
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::Refer)?
        .scope(Scope::Signal)?
        .create()?;
    let ruleset = match PathFd::new("/") {
        Ok(root) => ruleset.add_rule(PathBeneath::new(root, AccessFs::Refer))?,
        Err(_) => ruleset, // then renaming between folders is refused too
    };
    ruleset.restrict_self().map(drop)
}
