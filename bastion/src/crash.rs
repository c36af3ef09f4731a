//! Points at which a test kills this process.

/// Ends this process as `kill -9` would, at a point that a test names. Only in debug builds.
pub fn crash_point(name: &str) {
    if cfg!(debug_assertions) && std::env::var("WGMFA_CRASH_AT").is_ok_and(|wanted| wanted == name) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}
