//! Points at which a test has this program killed, to see that what it leaves behind is whole.

/// Kills this process (SIGKILL) when the environment variable `WGMFA_CRASH_AT` names this point; debug builds only.
pub fn crash_point(name: &str) {
    if cfg!(debug_assertions) && std::env::var_os("WGMFA_CRASH_AT").is_some_and(|wanted| wanted == name) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}
