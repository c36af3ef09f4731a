//! `pam_wgmfa.so`: asks the person, asks the keeper, returns its answer.
//!
//! Thin on purpose: it is loaded into other people's programs. It decides nothing, keeps nothing between two calls, and
//! starts no thread. What it returns is a contract: `PAM_SUCCESS`; `PAM_AUTH_ERR` for every refusal alike;
//! `PAM_AUTHINFO_UNAVAIL` when the keeper cannot be asked or the options are wrong. Never `PAM_IGNORE`, never
//! `PAM_USER_UNKNOWN`. A panic ends in `PAM_ABORT`.

mod ffi;
mod keeper;
mod login;
mod options;

use std::ffi::CStr;

use pam::constants::{
    PAM_ERROR_MSG, PAM_PROMPT_ECHO_OFF, PAM_PROMPT_ECHO_ON, PAM_SILENT, PamFlag, PamMessageStyle, PamResultCode,
};
use pam::conv::Conv;
use pam::items::{AuthTok, RHost, Service};
use pam::module::{PamHandle, PamHooks};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::module::Verdict;

use ffi::Priority;
use login::{Conversation, ConversationFailed, Decision, Login};
use options::Options;

/// The hooks that libpam calls; exported in [`ffi`].
struct Wgmfa;

impl PamHooks for Wgmfa {
    fn sm_authenticate(handle: &mut PamHandle, args: Vec<&CStr>, flags: PamFlag) -> PamResultCode {
        let Some((options, login)) = prepare(handle, &args) else { return PamResultCode::PAM_AUTHINFO_UNAVAIL };
        let mut person = PamConversation { handle, silent: flags & PAM_SILENT != 0 };
        let decision = login::authenticate(&options, &login, &mut person);
        log(handle, &options, &format!("login of {login}"), &decision);
        returned(decision.verdict)
    }

    fn sm_setcred(_: &mut PamHandle, _: Vec<&CStr>, _: PamFlag) -> PamResultCode {
        PamResultCode::PAM_SUCCESS // a login has no credentials of ours
    }

    fn acct_mgmt(handle: &mut PamHandle, args: Vec<&CStr>, _: PamFlag) -> PamResultCode {
        let Some((options, login)) = prepare(handle, &args) else { return PamResultCode::PAM_AUTHINFO_UNAVAIL };
        let decision = login::account(&options, &login);
        log(handle, &options, &format!("account of {login}"), &decision);
        returned(decision.verdict)
    }

    /// Fails when the keeper cannot be told: a site that wants such sessions writes `session optional`, and they are
    /// released nothing.
    fn sm_open_session(handle: &mut PamHandle, args: Vec<&CStr>, _: PamFlag) -> PamResultCode {
        let Some((options, login)) = prepare(handle, &args) else { return PamResultCode::PAM_AUTHINFO_UNAVAIL };
        let decision = login::session(&options, &login, true);
        log(handle, &options, &format!("session of {login}"), &decision);
        returned(decision.verdict)
    }

    /// Succeeds always: a session that ends must be able to end.
    fn sm_close_session(handle: &mut PamHandle, args: Vec<&CStr>, _: PamFlag) -> PamResultCode {
        if let Some((options, login)) = prepare(handle, &args) {
            let decision = login::session(&options, &login, false);
            log(handle, &options, &format!("end of the session of {login}"), &decision);
        }
        PamResultCode::PAM_SUCCESS
    }

    fn sm_chauthtok(handle: &mut PamHandle, _: Vec<&CStr>, _: PamFlag) -> PamResultCode {
        ffi::syslog(handle, Priority::Error, "passwords are changed with: ssh BASTION wgmfa-passwd");
        PamResultCode::PAM_PERM_DENIED
    }
}

/// What PAM is told of a verdict.
fn returned(verdict: Verdict) -> PamResultCode {
    match verdict {
        Verdict::Accept => PamResultCode::PAM_SUCCESS,
        Verdict::Refuse => PamResultCode::PAM_AUTH_ERR,
        Verdict::Unavailable => PamResultCode::PAM_AUTHINFO_UNAVAIL,
    }
}

/// What every hook needs first. Without it the hook fails; the reason is logged here.
fn prepare(handle: &mut PamHandle, args: &[&CStr]) -> Option<(Options, Login)> {
    ffi::log_panics_without_their_text();
    let options = Options::parse(args.iter().map(|arg| arg.to_bytes()))
        .map_err(|fault| ffi::syslog(handle, Priority::Error, &fault.to_string()))
        .ok()?;
    let user = handle
        .get_user(None)
        .map_err(|code| ffi::syslog(handle, Priority::Error, &format!("no user name that is text: {code:?}")))
        .ok()?;
    let text = |item: &CStr| item.to_string_lossy().into_owned();
    let rhost = handle.get_item::<RHost>().ok().flatten().map(|item| text(&item));
    let service = handle.get_item::<Service>().ok().flatten().map(|item| text(&item));
    Some((options, Login { user, rhost, service }))
}

fn log(handle: &mut PamHandle, options: &Options, what: &str, Decision { verdict, reason }: &Decision) {
    let (priority, words) = match verdict {
        Verdict::Accept if options.debug => (Priority::Debug, "accepted"),
        Verdict::Accept => return,
        Verdict::Refuse => (Priority::Notice, "refused"),
        Verdict::Unavailable => (Priority::Error, "could not be decided"),
    };
    ffi::syslog(handle, priority, &format!("{what}: {words}: {reason}"));
}

/// The person, as the PAM application lets us speak to them.
struct PamConversation<'a> {
    handle: &'a mut PamHandle,
    silent: bool,
}

impl PamConversation<'_> {
    fn send(&self, style: PamMessageStyle, text: &str) -> Result<Option<SecretText>, ConversationFailed> {
        let conversation = self.handle.get_item::<Conv>().ok().flatten().ok_or(ConversationFailed)?;
        let answer = conversation.send(style, text).map_err(|_| ConversationFailed)?;
        // Bytes that are no text are a wrong answer like any other; the replacement characters keep them wrong.
        Ok(answer.map(|bytes| SecretText::new(String::from_utf8_lossy(bytes.as_bytes()).into_owned())))
    }
}

impl Conversation for PamConversation<'_> {
    fn ask_hidden(&mut self, prompt: &str) -> Result<SecretText, ConversationFailed> {
        self.send(PAM_PROMPT_ECHO_OFF, prompt)?.ok_or(ConversationFailed)
    }

    fn ask_shown(&mut self, prompt: &str) -> Result<SecretText, ConversationFailed> {
        self.send(PAM_PROMPT_ECHO_ON, prompt)?.ok_or(ConversationFailed)
    }

    fn complain(&mut self, text: &str) {
        if !self.silent {
            // The refusal stands whether or not it can be shown.
            let _ = self.send(PAM_ERROR_MSG, text);
        }
    }

    fn earlier_password(&self) -> Option<SecretText> {
        let item = self.handle.get_item::<AuthTok>().ok().flatten()?;
        Some(SecretText::new(String::from_utf8_lossy(item.as_bytes()).into_owned()))
    }

    fn keep_password(&mut self, password: &SecretText) {
        ffi::set_authtok(self.handle, password);
    }
}
