//! The only unsafe code of the module: its exported hooks, and the calls of libpam that `pam-bindings` lacks.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use nix::libc;
use pam::module::PamHandle;
use wgmfa_core::key::SecretText;
use zeroize::Zeroize;

use crate::Wgmfa;

pam::pam_hooks!(Wgmfa);

/// `PAM_AUTHTOK` of `security/_pam_types.h`.
const PAM_AUTHTOK: c_int = 6;

unsafe extern "C" {
    fn pam_set_item(handle: *mut PamHandle, item_type: c_int, item: *const c_void) -> c_int;
    fn pam_syslog(handle: *const PamHandle, priority: c_int, format: *const c_char, ...);
}

/// How urgent a line of the log is (syslog(3)).
#[derive(Debug, Clone, Copy)]
pub enum Priority {
    /// The module cannot do its work.
    Error,
    /// A refusal.
    Notice,
    /// Only with the option `debug`.
    Debug,
}

/// Writes a line to the system's log as pam_syslog(3) does: with the names of module and service, to `authpriv`.
/// The text must hold no secret.
pub fn syslog(handle: &PamHandle, priority: Priority, text: &str) {
    let priority = match priority {
        Priority::Error => libc::LOG_ERR,
        Priority::Notice => libc::LOG_NOTICE,
        Priority::Debug => libc::LOG_DEBUG,
    };
    let text = one_line(text);
    // SAFETY: the handle comes from libpam and is borrowed; the format takes exactly the one string that is given.
    unsafe { pam_syslog(handle, priority, c"%s".as_ptr(), text.as_ptr()) }
}

/// Keeps the password for the modules below. libpam copies it.
pub fn set_authtok(handle: &mut PamHandle, password: &SecretText) {
    let Ok(text) = CString::new(password.expose()) else { return };
    // SAFETY: the handle comes from libpam and is borrowed exclusively; the item is a string, as PAM_AUTHTOK must be, and
    // lives until after the call. A failure leaves the item unset, and the next module asks by itself.
    unsafe { pam_set_item(handle, PAM_AUTHTOK, text.as_ptr().cast()) };
    text.into_bytes().zeroize();
}

/// A panic's text could hold an answer, and standard error belongs to the program around us: only the place is logged.
/// The hook is this module's own, since a cdylib has its own copy of the standard library.
pub fn log_panics_without_their_text() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "unknown place".to_owned(), ToString::to_string);
        let text = one_line(&format!("pam_wgmfa: internal error at {place}"));
        // SAFETY: the format takes exactly the one string that is given.
        unsafe { libc::syslog(libc::LOG_AUTHPRIV | libc::LOG_CRIT, c"%s".as_ptr(), text.as_ptr()) }
    }));
}

/// Text from outside cannot begin a line of its own in the log, nor end one early.
fn one_line(text: &str) -> CString {
    let text = text.replace(char::is_control, "?");
    CString::new(text).unwrap_or_else(|_| CStr::to_owned(c"?"))
}
