//! Logins that came by another PAM application of this machine, most of all the site's own sshd, and the sessions that
//! they opened there.
//!
//! Two processes of sshd take part. The one that asks for the code is a child of the one that opens the session (or that
//! very one), and every process that the person starts descends from the latter. So a code is tied to its session by
//! processes, which nobody can name at will: the session's own must be the one that asked for the code or its parent,
//! and whoever wants keys must descend from it. A session by an SSH key alone has a process too, but no code.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use nix::unistd::Uid;
use tokio::time::Instant;
use wgmfa_core::message::front::Limits;
use wgmfa_core::release::RELEASE_WINDOW_SECONDS;

use super::attempt::Passed;
use super::process::Process;
use crate::store::Login;

/// What is known of these logins. It is lost when the keeper ends: then people log in again.
#[derive(Default)]
pub struct Foreign(RefCell<Book>);

#[derive(Default)]
struct Book {
    accepted: Vec<Accepted>,
    sessions: Vec<Rc<Session>>,
}

/// A login whose code the keeper has accepted, and that has opened no session yet.
struct Accepted {
    login: Login,
    at: Instant,
    asked_by: Rc<Process>,
    parent: Option<Process>,
}

/// A session that has been opened.
struct Session {
    process: Process,
    uid: Option<Uid>,
    /// The login that opened it; none: it came in without a code.
    login: Option<(Login, Instant)>,
    opened: Instant,
    /// One of its commands runs.
    busy: Cell<bool>,
}

/// The right to carry out one command of a session, as long as nobody else has it.
pub struct Turn {
    session: Rc<Session>,
    /// The login.
    pub passed: Passed,
}

/// Why a process may ask for nothing. For the log, but for [`NoTurn::Busy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTurn {
    /// It has ended.
    Gone,
    /// It descends from no session that the keeper was told of.
    NoSession,
    /// Its session came in without a code that the keeper accepted.
    NoCode,
    /// Its session is another user's.
    AnotherUser,
    /// The session's time is over.
    TooOld,
    /// Another command of the session runs.
    Busy,
}

impl NoTurn {
    /// In words.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Gone => "the process has ended",
            Self::NoSession => "the process descends from no session that was opened here lately",
            Self::NoCode => "its session came in without a one-time code",
            Self::AnotherUser => "its session is another user's",
            Self::TooOld => "its login is too old",
            Self::Busy => "another command runs in its session",
        }
    }
}

/// So long a session is remembered: as long as a connection to the front lives.
fn remembered() -> Duration {
    Duration::from_secs(Limits::default().session_seconds)
}

/// No more of them are remembered: each takes a descriptor. The oldest without a code goes first.
const MOST_SESSIONS: usize = 256;

/// So long after its code was accepted a login may open its session: afterwards it could not release anything.
const OPENS_WITHIN: Duration = Duration::from_secs(RELEASE_WINDOW_SECONDS.unsigned_abs());

impl Foreign {
    /// The keeper has accepted a code that this process asked for; it still waits for the answer.
    pub fn accepted(&self, login: Login, asked_by: Rc<Process>) {
        let mut book = self.0.borrow_mut();
        book.accepted.retain(|one| one.at.elapsed() <= OPENS_WITHIN);
        let parent = asked_by.parent().ok();
        book.accepted.push(Accepted { login, at: Instant::now(), asked_by, parent });
    }

    /// A session is opened by this process. Whether a login of this user with a code has led to it.
    pub fn open(&self, user: &str, uid: Option<Uid>, process: Process) -> bool {
        let mut book = self.0.borrow_mut();
        let is_its = |one: &Accepted| process.is(&one.asked_by) || one.parent.as_ref().is_some_and(|it| process.is(it));
        let (its, others) = std::mem::take(&mut book.accepted).into_iter().partition::<Vec<_>, _>(is_its);
        book.accepted = others;
        let good = |one: &Accepted| one.login.user.as_str() == user && one.at.elapsed() <= OPENS_WITHIN;
        // the newest: whatever the process was told before is over
        let login = its.into_iter().rfind(good).map(|one| (one.login, one.at));
        let passed = login.is_some();
        // a stack may have our line twice
        let again = |session: &&Rc<Session>| {
            !passed
                && session.process.is(&process)
                && session.login.as_ref().is_some_and(|(it, _)| it.user.as_str() == user)
        };
        if book.sessions.iter().any(|session| again(&session)) {
            return true;
        }
        let lives = |session: &Rc<Session>| session.opened.elapsed() <= remembered() && session.process.is_alive();
        book.sessions.retain(|session| lives(session) && !session.process.is(&process));
        if book.sessions.len() >= MOST_SESSIONS {
            let without_code = book.sessions.iter().position(|session| session.login.is_none());
            book.sessions.remove(without_code.unwrap_or(0));
        }
        let (opened, busy) = (Instant::now(), Cell::default());
        book.sessions.push(Rc::new(Session { process, uid, login, opened, busy }));
        passed
    }

    /// A session is closed by this process.
    pub fn close(&self, process: &Process) {
        let sessions = &mut self.0.borrow_mut().sessions;
        sessions.retain(|session| session.process.is_alive() && !session.process.is(process));
    }

    /// The right of a process of this user to carry out a command in the name of its session's login.
    ///
    /// # Errors
    /// It has none, and why.
    pub fn turn(&self, process: &Process, uid: Uid) -> Result<Turn, NoTurn> {
        let line = process.line().ok_or(NoTurn::Gone)?;
        let book = self.0.borrow();
        // the nearest: a session within another one is not that one
        let of = |pid: &i32| book.sessions.iter().find(|session| session.process.has_number(*pid));
        let nearest = line.iter().find_map(of);
        let session = nearest.ok_or(NoTurn::NoSession)?;
        let (login, at) = session.login.clone().ok_or(NoTurn::NoCode)?;
        if session.uid != Some(uid) {
            return Err(NoTurn::AnotherUser);
        }
        if at.elapsed() > remembered() {
            return Err(NoTurn::TooOld);
        }
        if session.busy.replace(true) {
            return Err(NoTurn::Busy);
        }
        Ok(Turn { session: session.clone(), passed: Passed { login, at } })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.session.busy.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use wgmfa_core::guessing::Source;

    use super::*;
    use crate::store::LoginId;

    const UID: Uid = Uid::from_raw(4242);

    fn login(user: &str) -> Login {
        Login {
            id: LoginId::random(),
            user: user.parse().unwrap(),
            from: "192.0.2.7".to_owned(),
            source: Source::Local,
        }
    }

    /// A child that ends with its test, and its own child as well: nothing comes on their standard input.
    struct Running(Child);

    impl Running {
        fn start(script: &str) -> Self {
            Self(Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap())
        }

        fn held(&self) -> Process {
            Process::by_number(self.0.id().cast_signed()).unwrap()
        }

        /// Its own child.
        fn child(&self) -> Process {
            let pid = self.0.id();
            loop {
                let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
                if let Some(child) = children.split_whitespace().next() {
                    return Process::by_number(child.parse().unwrap()).unwrap();
                }
                std::thread::yield_now();
            }
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn this() -> Process {
        Process::by_number(std::process::id().cast_signed()).unwrap()
    }

    #[test]
    fn who_descends_from_the_session_has_one_turn_at_a_time() {
        let (foreign, child) = (Foreign::default(), Running::start("exec cat"));
        foreign.accepted(login("justin"), Rc::new(this()));
        assert!(foreign.open("justin", Some(UID), this()));
        assert!(foreign.open("justin", Some(UID), this()), "told twice, it is the same session");
        let turn = foreign.turn(&child.held(), UID).ok().unwrap();
        assert_eq!(turn.passed.login.user.as_str(), "justin");
        assert_eq!(foreign.turn(&child.held(), UID).err(), Some(NoTurn::Busy));
        drop(turn);
        assert!(foreign.turn(&child.held(), UID).is_ok());
        assert_eq!(foreign.turn(&child.held(), Uid::from_raw(4243)).err(), Some(NoTurn::AnotherUser));
        foreign.close(&this());
        assert_eq!(foreign.turn(&child.held(), UID).err(), Some(NoTurn::NoSession));
    }

    #[test]
    fn a_code_opens_the_session_of_the_process_that_asked_for_it_or_of_its_parent() {
        let foreign = Foreign::default();
        let [asks, other] = [(); 2].map(|()| Running::start("exec cat"));
        foreign.accepted(login("justin"), Rc::new(asks.held()));
        assert!(!foreign.open("justin", Some(UID), other.held()), "a sibling's code");
        drop(asks); // sshd's is gone by then
        assert!(foreign.open("justin", Some(UID), this()));
        assert!(!foreign.open("alice", Some(UID), this()), "it is used up");
        foreign.accepted(login("justin"), Rc::new(this()));
        assert!(!foreign.open("alice", Some(UID), this()), "another person's code");
        assert_eq!(foreign.turn(&other.held(), UID).err(), Some(NoTurn::NoCode));
    }

    #[test]
    fn a_session_without_a_code_within_another_one_has_none() {
        let (foreign, inner) = (Foreign::default(), Running::start("cat; true"));
        foreign.accepted(login("justin"), Rc::new(this()));
        assert!(foreign.open("justin", Some(UID), this()));
        let visitor = inner.child();
        assert!(foreign.turn(&visitor, UID).is_ok());
        assert!(!foreign.open("justin", Some(UID), inner.held()));
        assert_eq!(foreign.turn(&visitor, UID).err(), Some(NoTurn::NoCode));
    }

    #[test]
    fn a_session_whose_process_has_ended_is_none() {
        let (foreign, session) = (Foreign::default(), Running::start("exec cat"));
        foreign.accepted(login("justin"), Rc::new(session.held()));
        assert!(foreign.open("justin", Some(UID), session.held()));
        let visitor = session.held();
        assert!(foreign.turn(&visitor, UID).is_ok());
        drop(session);
        assert_eq!(foreign.turn(&visitor, UID).err(), Some(NoTurn::Gone));
        assert_eq!(foreign.turn(&this(), UID).err(), Some(NoTurn::NoSession));
    }
}
