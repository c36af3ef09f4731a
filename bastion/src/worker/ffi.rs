//! The application side of libpam, and the descriptor that the keeper hands over: all the unsafe code of the worker.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr::{self, NonNull};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use wgmfa_core::message::worker::{Prompt, PromptKind};
use zeroize::Zeroize;

use super::channel::{Broken, Channel};

// security/_pam_types.h of Linux-PAM
const PAM_SUCCESS: c_int = 0;
const PAM_BUF_ERR: c_int = 5;
const PAM_CONV_ERR: c_int = 19;
const PAM_USER: c_int = 2;
const PAM_TTY: c_int = 3;
const PAM_RHOST: c_int = 4;
const PAM_PROMPT_ECHO_OFF: c_int = 1;
const PAM_PROMPT_ECHO_ON: c_int = 2;
const PAM_ERROR_MSG: c_int = 3;
const PAM_TEXT_INFO: c_int = 4;
const PAM_MAX_NUM_MSG: usize = 32;

/// `pam_handle_t`.
#[repr(C)]
struct PamHandle {
    _opaque: [u8; 0],
}

#[repr(C)]
struct PamMessage {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct PamResponse {
    text: *mut c_char,
    code: c_int,
}

#[repr(C)]
struct PamConv {
    conv: extern "C" fn(c_int, *const *const PamMessage, *mut *mut PamResponse, *mut c_void) -> c_int,
    appdata: *mut c_void,
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start(
        service: *const c_char,
        user: *const c_char,
        conv: *const PamConv,
        handle: *mut *mut PamHandle,
    ) -> c_int;
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conv: *const PamConv,
        confdir: *const c_char,
        handle: *mut *mut PamHandle,
    ) -> c_int;
    fn pam_set_item(handle: *mut PamHandle, item_type: c_int, item: *const c_void) -> c_int;
    fn pam_get_item(handle: *const PamHandle, item_type: c_int, item: *mut *const c_void) -> c_int;
    fn pam_authenticate(handle: *mut PamHandle, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut PamHandle, flags: c_int) -> c_int;
    fn pam_end(handle: *mut PamHandle, status: c_int) -> c_int;
    fn pam_strerror(handle: *mut PamHandle, code: c_int) -> *const c_char;
}

/// One login in libpam, from pam_start(3) to pam_end(3). Errors are libpam's own words for the return code.
pub struct Transaction<'a> {
    handle: NonNull<PamHandle>,
    status: c_int,
    /// libpam holds a pointer to the channel for as long as the transaction lives.
    _channel: PhantomData<&'a mut Channel>,
}

impl<'a> Transaction<'a> {
    /// Begins; with a folder, the service is looked for in there and nowhere else.
    pub fn start(
        service: &CStr,
        user: &CStr,
        confdir: Option<&CStr>,
        channel: &'a mut Channel,
    ) -> Result<Self, String> {
        let conv = PamConv { conv: converse, appdata: ptr::from_mut(channel).cast() };
        let mut handle = ptr::null_mut();
        // SAFETY: all strings live until the call returns, and libpam copies them and `conv`. The channel that `conv`
        // points to is borrowed exclusively for as long as this transaction lives.
        let status = unsafe {
            match confdir {
                Some(dir) => pam_start_confdir(service.as_ptr(), user.as_ptr(), &conv, dir.as_ptr(), &mut handle),
                None => pam_start(service.as_ptr(), user.as_ptr(), &conv, &mut handle),
            }
        };
        match NonNull::new(handle) {
            Some(handle) if status == PAM_SUCCESS => Ok(Self { handle, status, _channel: PhantomData }),
            _ => Err(format!("pam_start: {}", words(ptr::null_mut(), status))),
        }
    }

    /// Where the login comes from.
    pub fn set_rhost(&mut self, rhost: &CStr) -> Result<(), String> {
        self.set(PAM_RHOST, rhost)
    }

    /// The terminal; for a login over the network its protocol, as sshd does.
    pub fn set_tty(&mut self, tty: &CStr) -> Result<(), String> {
        self.set(PAM_TTY, tty)
    }

    /// pam_authenticate(3).
    pub fn authenticate(&mut self) -> Result<(), String> {
        // SAFETY: the handle is between pam_start and pam_end.
        self.check(|handle| unsafe { pam_authenticate(handle, 0) })
    }

    /// pam_acct_mgmt(3).
    pub fn account(&mut self) -> Result<(), String> {
        // SAFETY: the handle is between pam_start and pam_end.
        self.check(|handle| unsafe { pam_acct_mgmt(handle, 0) })
    }

    /// The user name as the modules have left it.
    pub fn user(&mut self) -> Result<CString, String> {
        let mut item = ptr::null();
        // SAFETY: the handle is between pam_start and pam_end, and `item` outlives the call.
        self.check(|handle| unsafe { pam_get_item(handle, PAM_USER, &mut item) })?;
        let item: *const c_char = item.cast();
        // SAFETY: PAM_USER is null or a string that belongs to libpam and stays until the next call; it is copied here.
        if item.is_null() { Ok(CString::default()) } else { Ok(unsafe { CStr::from_ptr(item) }.to_owned()) }
    }

    fn set(&mut self, item: c_int, text: &CStr) -> Result<(), String> {
        // SAFETY: the handle is between pam_start and pam_end; the item is a string, which libpam copies.
        self.check(|handle| unsafe { pam_set_item(handle, item, text.as_ptr().cast()) })
    }

    /// Keeps the status for pam_end(3) and puts a failure into words.
    fn check(&mut self, call: impl FnOnce(*mut PamHandle) -> c_int) -> Result<(), String> {
        let handle = self.handle.as_ptr();
        self.status = call(handle);
        if self.status == PAM_SUCCESS { Ok(()) } else { Err(words(handle, self.status)) }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle came from pam_start and is not used again.
        unsafe { pam_end(self.handle.as_ptr(), self.status) };
    }
}

fn words(handle: *mut PamHandle, code: c_int) -> String {
    // SAFETY: pam_strerror(3) of Linux-PAM does not look at the handle and returns a constant string.
    unsafe { CStr::from_ptr(pam_strerror(handle, code)) }.to_string_lossy().into_owned()
}

/// pam_conv(3). A panic in here ends the process, which the keeper takes for a refusal.
extern "C" fn converse(
    count: c_int,
    messages: *const *const PamMessage,
    responses: *mut *mut PamResponse,
    appdata: *mut c_void,
) -> c_int {
    let Ok(count) = usize::try_from(count) else { return PAM_CONV_ERR };
    if count == 0 || count > PAM_MAX_NUM_MSG || messages.is_null() || responses.is_null() {
        return PAM_CONV_ERR;
    }
    // SAFETY: libpam and its modules pass an array of `count` pointers to messages, as Linux-PAM lays them out.
    let Some(prompts) = unsafe { std::slice::from_raw_parts(messages, count) }
        .iter()
        .map(|message| prompt(*message))
        .collect::<Option<Vec<_>>>()
    else {
        return PAM_CONV_ERR;
    };
    // SAFETY: appdata is the channel that `Transaction::start` was given, exclusively borrowed until pam_end; modules run
    // one after another, and a conversation does not call itself.
    let channel = unsafe { &mut *appdata.cast::<Channel>() };
    match channel.ask(prompts) {
        // SAFETY: `responses` was checked above and points to a place for one pointer.
        Ok(answers) => allocate(answers).map_or(PAM_BUF_ERR, |array| unsafe {
            *responses = array;
            PAM_SUCCESS
        }),
        Err(Broken) => PAM_CONV_ERR,
    }
}

fn prompt(message: *const PamMessage) -> Option<Prompt> {
    // SAFETY: null, or a message of a module that lives until the conversation returns.
    let message = unsafe { message.as_ref() }?;
    let kind = match message.style {
        PAM_PROMPT_ECHO_OFF => PromptKind::Secret,
        PAM_PROMPT_ECHO_ON => PromptKind::Visible,
        PAM_ERROR_MSG => PromptKind::Error,
        PAM_TEXT_INFO => PromptKind::Info,
        _ => return None,
    };
    // SAFETY: checked for null; otherwise a string that lives as long as its message.
    let text = if message.text.is_null() { c"" } else { unsafe { CStr::from_ptr(message.text) } };
    Some(Prompt { text: text.to_string_lossy().into_owned(), kind })
}

/// The answers in memory of malloc(3): the module frees it. Our own copies are wiped.
fn allocate(answers: Vec<Option<CString>>) -> Option<*mut PamResponse> {
    // SAFETY: calloc(3) of a size that cannot overflow: at most PAM_MAX_NUM_MSG responses.
    let array: *mut PamResponse = unsafe { libc::calloc(answers.len(), size_of::<PamResponse>()) }.cast();
    if array.is_null() {
        return None;
    }
    for (at, answer) in answers.into_iter().enumerate() {
        let Some(answer) = answer else { continue };
        // SAFETY: `at` is inside the array, which calloc has zeroed, and the text is a string. When strdup(3) fails, the
        // response stays null, which a module takes for no answer.
        unsafe { (*array.add(at)).text = libc::strdup(answer.as_ptr()) };
        answer.into_bytes().zeroize();
    }
    Some(array)
}

/// The socket to the keeper, descriptor 3, from now on hidden from the programs that PAM modules start. To be called
/// once.
pub fn keeper_socket() -> Result<UnixStream, String> {
    const KEEPER: c_int = 3;
    // SAFETY: it only asks about the descriptor.
    if unsafe { libc::fcntl(KEEPER, libc::F_GETFD) } == -1 {
        return Err("descriptor 3 is not open".to_owned());
    }
    // SAFETY: it is open, the keeper opened it for this process, and nothing else in this process uses it.
    let socket = unsafe { OwnedFd::from_raw_fd(KEEPER) };
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|error| format!("descriptor 3: {error}"))?;
    Ok(UnixStream::from(socket))
}
