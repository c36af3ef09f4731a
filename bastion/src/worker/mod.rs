//! The PAM worker: a process of its own for each login, so that a PAM module that crashes, leaks or blocks takes nothing
//! else down. It carries libpam's prompts to the keeper and the answers back, and tells what libpam decided. It decides
//! nothing itself, and the keeper does not take its word for the second factor.

mod channel;
mod cover;
mod ffi;

use std::ffi::CString;
use std::process::ExitCode;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{alarm, geteuid};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::worker::{FromWorker, ToWorker};

use crate::confine::{self, Capability};
use crate::voice;
use channel::Channel;
use ffi::Transaction;

/// No login lasts longer than 60 s; a worker that does has been forgotten, and ends by itself.
const LONGEST_LIFE_SECONDS: u32 = 90;

/// What modules may need: to read `/etc/shadow` where its mode is 0000, to act as the person (seteuid), to keep a record in
/// the person's home, and to tell the kernel's audit.
const MODULES_NEED: &[Capability] = &[
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Setgid,
    Capability::Setuid,
    Capability::AuditWrite,
];

/// Runs one login with the keeper at descriptor 3, and returns the status to end with: 0 when the keeper was told what
/// libpam decided, whatever that was.
pub fn run() -> ExitCode {
    match login() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failure = Failure::new(Exit::Failed, format!("pam-worker: {error}"))
                .hint("the keeper starts this program; run `wgmfa-bastion serve`");
            voice::fail(&failure).code().into()
        }
    }
}

fn login() -> Result<(), String> {
    stay_no_longer_than_the_keeper().map_err(|error| error.to_string())?;
    let mut channel = Channel::new(ffi::keeper_socket()?);
    let ToWorker::Begin { service, confdir, user, rhost, cover } = channel.receive()? else {
        return Err("the keeper's first message must be `begin`".to_owned());
    };
    let outcome = cover_paths(&cover).and_then(|()| {
        let claim = Claim {
            service: text(service, "PAM service name")?,
            confdir: confdir.map(|folder| text(folder, "PAM folder")).transpose()?,
            user: text(user, "user name")?,
            rhost: text(rhost, "remote host")?,
        };
        ask_libpam(&claim, &mut channel)
    });
    let ended = match outcome {
        Ok(()) => FromWorker::Ended { success: true, reason: "libpam accepted".to_owned() },
        Err(reason) => {
            let reason = channel.fault().map_or(reason.clone(), |fault| format!("{reason}: {fault}"));
            FromWorker::Ended { success: false, reason }
        }
    };
    channel.send(&ended)
}

/// Ends with the keeper, and leaves no picture of the answers on the disk. The signal alone is not enough: it is
/// forgotten when a module changes the user id for a while (prctl(2)).
fn stay_no_longer_than_the_keeper() -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    alarm::set(LONGEST_LIFE_SECONDS);
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
}

/// Hides what the keeper says, for good: a module that runs as root must not be able to undo it.
fn cover_paths(paths: &[String]) -> Result<(), String> {
    if !geteuid().is_root() {
        return Ok(());
    }
    cover::cover(paths)?;
    let refused = |error: nix::Error| format!("the PAM worker cannot give up its rights: {error}");
    prctl::set_no_new_privs().map_err(refused)?;
    // other workers, with the same rights, hold the answers of other people
    prctl::set_dumpable(false).map_err(refused)?;
    confine::keep_capabilities(MODULES_NEED).map_err(refused)?;
    confine::fence_off_neighbours().map_err(|error| format!("the PAM worker cannot be fenced off: {error}"))
}

/// Whom libpam is asked about.
struct Claim {
    service: CString,
    confdir: Option<CString>,
    user: CString,
    rhost: CString,
}

fn text(text: String, what: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("a NUL byte in the {what}"))
}

/// The calls of pam(3) in their order. Only `PAM_SUCCESS` goes on: a password that must be changed is a refusal, and so
/// is a user name that a module has changed, since everything that follows would be about somebody else.
fn ask_libpam(claim: &Claim, channel: &mut Channel) -> Result<(), String> {
    let Claim { service, confdir, user, rhost } = claim;
    let mut pam = Transaction::start(service, user, confdir.as_deref(), channel)?;
    pam.set_rhost(rhost)?;
    pam.set_tty(c"ssh")?;
    let authenticated = pam.authenticate();
    judge("pam_authenticate", authenticated, &mut pam, user)?;
    let accounted = pam.account();
    judge("pam_acct_mgmt", accounted, &mut pam, user)
}

fn judge(call: &str, done: Result<(), String>, pam: &mut Transaction<'_>, user: &CString) -> Result<(), String> {
    done.map_err(|words| format!("{call}: {words}"))?;
    if pam.user()? == *user { Ok(()) } else { Err(format!("{call}: a PAM module has changed the user name")) }
}
