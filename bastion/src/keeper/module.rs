//! The PAM module asks on `keeper.sock`: questions, answers, outcome. Here a one-time code is accepted, once.

use std::rc::Rc;
use std::time::Duration;

use nix::unistd::{User, geteuid};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::module::{FromModule, ToModule, Verdict};
use wgmfa_core::message::{LINE_BEFORE_PROOF, VERSION};

use super::process::Process;
use super::verify::{self, Asked, Claim, Tie};
use super::wire::Wire;
use super::{Keeper, Session};

/// How long the person may take to answer, and a little more than a login may last in all.
const ANSWERS_WITHIN: Duration = Duration::from_secs(65);

/// How long after the answers a refusal comes, whatever its reason.
const REFUSAL_AFTER: Duration = Duration::from_millis(500);

/// Serves one connection of a module.
///
/// # Errors
/// What the other side did wrong, for the log.
pub async fn serve(keeper: Rc<Keeper>, stream: UnixStream) -> Result<(), String> {
    let mut wire = Wire::new(stream, LINE_BEFORE_PROOF);
    let peer = wire.peer().map_err(|error| error.to_string())?;
    if peer.uid() != 0 && peer.uid() != geteuid().as_raw() {
        return Err(format!("user {} may not ask here", peer.uid()));
    }
    let tie = match peer.pid().and_then(|pid| keeper.logins.borrow().get(&pid).cloned()) {
        Some(ours) => Tie::Ours(ours),
        None => Tie::Foreign(Process::peer(wire.stream()).ok().map(Rc::new)),
    };
    let first = timeout(Duration::from_secs(5), wire.receive::<FromModule>()).await;
    match first.map_err(|_| "nothing was asked".to_owned())?.map_err(|error| error.to_string())? {
        Some(FromModule::Begin { version: VERSION, user, rhost, service, password, otp }) => {
            let claim = Claim { user, rhost, service: service.unwrap_or_default() };
            authenticate(&keeper, &mut wire, &claim, Asked { password, code: otp }, tie).await
        }
        Some(FromModule::Account { version: VERSION, user }) => {
            let verdict = keeper.account(&user);
            send(&mut wire, &ToModule::Outcome { verdict, text: None }).await
        }
        Some(FromModule::Session { version: VERSION, user, service, open }) => {
            let session = match Process::peer(wire.stream()) {
                Ok(process) if open => opened(&keeper, &user, process, &tie).await,
                Ok(process) => {
                    keeper.foreign.close(&process);
                    Session::Closed
                }
                Err(_) if open => Session::Opened,
                Err(_) => Session::Closed,
            };
            keeper.note_session(&user, service.as_deref().unwrap_or_default(), session);
            send(&mut wire, &ToModule::Outcome { verdict: Verdict::Accept, text: None }).await
        }
        Some(_) => Err("a request out of its order, or of another version".to_owned()),
        None => Ok(()),
    }
}

/// A process has opened a session, and tells so. The keeper's own workers open none for others.
async fn opened(keeper: &Keeper, user: &str, process: Process, tie: &Tie) -> Session {
    let name = user.to_owned();
    let found = tokio::task::spawn_blocking(move || User::from_name(&name)).await;
    let uid = found.ok().and_then(Result::ok).flatten().map(|user| user.uid);
    let passed = matches!(tie, Tie::Foreign(_)) && keeper.foreign.open(user, uid, process);
    if passed { Session::OpenedWithCode } else { Session::Opened }
}

async fn authenticate(
    keeper: &Rc<Keeper>,
    wire: &mut Wire,
    claim: &Claim,
    mut asked: Asked,
    tie: Tie,
) -> Result<(), String> {
    if !asked.password && !asked.code {
        return Err("the module asks for nothing".to_owned());
    }
    if matches!(&tie, Tie::Ours(ours) if ours.keyed) {
        asked.password = false;
    }
    send(wire, &ToModule::Questions { password: asked.password, code: asked.code }).await?;
    let answers = timeout(ANSWERS_WITHIN, wire.receive::<FromModule>()).await;
    let (password, code) = match answers {
        Ok(Ok(Some(FromModule::Answers { password, code }))) => (password, code),
        Ok(Ok(None)) => return Ok(()),
        Ok(Ok(Some(_))) => return Err("a request out of its order".to_owned()),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no answers in time".to_owned()),
    };
    let answered = Instant::now();
    let empty = SecretText::default;
    let given = verify::Given {
        password: asked.password.then(|| password.unwrap_or_else(empty)),
        code: asked.code.then(|| code.unwrap_or_else(empty)),
    };
    let verdict = verify::verify(keeper, claim, given, &tie).await;
    if verdict != Verdict::Accept {
        sleep_until(answered + REFUSAL_AFTER).await;
    }
    let text = (verdict == Verdict::Refuse).then(|| keeper.refusal());
    send(wire, &ToModule::Outcome { verdict, text }).await
}

async fn send(wire: &mut Wire, message: &ToModule) -> Result<(), String> {
    wire.send(message).await.map_err(|error| error.to_string())
}
