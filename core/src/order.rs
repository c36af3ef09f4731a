//! What a server makes of the bastion's orders about one peer: to open it, and to renew its session in place.
//!
//! The agent fills in what it sees and remembers, asks, and carries out the answer; it is on disk before the interface is
//! changed.

use serde::{Deserialize, Serialize};

use crate::boottime::Boottime;
use crate::key::Fingerprint;
use crate::rotation::{Action, Assignment, Contact, Held, Hold, Standing, View, plan};

/// An order that comes this long after the bastion was last heard may have been long on its way, in seconds: a resident
/// agent hears an answer to its ping every ten.
pub const LATE: u64 = 15;

/// When an order that comes now was sent at worst, so that a line that stood still or a machine that was suspended
/// prolongs no session. If that was too early, the next report's answer says so.
pub fn sent_at_worst(now: Boottime, connected: Boottime, last_contact: Option<Boottime>) -> Boottime {
    let heard = last_contact.map_or(connected, |contact| contact.max(connected));
    if now.since(heard).as_secs() < LATE { now } else { heard }
}

/// How long a generation may be accepted, as an order says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// When the order was sent, at worst.
    pub sent: Boottime,
    /// For how many seconds from then.
    pub seconds_left: u64,
}

impl Term {
    fn deadline(&self, now: Boottime) -> Result<Boottime, Refusal> {
        let told = self.sent.plus_seconds(self.seconds_left);
        if told > now { Ok(told) } else { Err(Refusal::Stay("the order came too late".to_owned())) }
    }
}

/// Why an order is not followed, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The peer stays as it is.
    Stay(String),
    /// What the peer accepts is past its time: it is to be locked at once.
    Lock(String),
}

/// A peer that is to accept the generation that stands on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Until when.
    pub deadline: Boottime,
    /// Nobody had it: the peer is added anew. Else a session runs, and only its deadline moves.
    pub fresh: bool,
}

/// Whether a peer may be opened with this generation.
///
/// # Errors
/// It may not, and why.
pub fn open(view: &View<'_>, generation: u64, term: Term) -> Result<Opening, Refusal> {
    let held = held(view)?;
    if held.generation != generation {
        return Err(Refusal::Stay(format!("this server holds generation {}", held.generation)));
    }
    still_good(view)?;
    let told = term.deadline(view.now)?;
    match &held.hold {
        Hold::Waiting { .. } => Ok(Opening { deadline: told, fresh: true }),
        hold => Ok(Opening { deadline: told.max(session(hold)?), fresh: false }),
    }
}

/// The number of the generation that follows in a session that runs: above what is held, what the bastion has ever seen
/// (`above`), and what was made before and not changed to (`made`), which must not change under its number.
///
/// # Errors
/// There is none to follow, and why.
pub fn next_generation(view: &View<'_>, above: u64, made: Option<u64>) -> Result<u64, Refusal> {
    let held = held(view)?;
    still_good(view)?;
    session(&held.hold)?;
    let highest = held.generation.max(above).max(made.unwrap_or(0));
    highest.checked_add(1).ok_or_else(|| Refusal::Stay("there is no higher generation".to_owned()))
}

/// Until when a peer accepts its next generation, if the session that runs may change to it: the bastion has it on disk,
/// and the client has it too. `made` is the one that was made for this session and not changed to yet.
///
/// # Errors
/// The session goes on with the generation that it has, or is over; and why.
pub fn change(view: &View<'_>, made: Option<u64>, generation: u64, term: Term) -> Result<Boottime, Refusal> {
    let held = held(view)?;
    if made != Some(generation) || generation <= held.generation {
        let reason = "this server has not made that generation, or another one since, or was started again";
        return Err(Refusal::Stay(reason.to_owned()));
    }
    still_good(view)?;
    let running = session(&held.hold)?;
    Ok(term.deadline(view.now)?.max(running))
}

fn held<'a>(view: &View<'a>) -> Result<&'a Held, Refusal> {
    view.held.ok_or_else(|| Refusal::Stay("this server has made no key for that peer".to_owned()))
}

/// A generation that was taken off its peer by no decision of anybody's: its session may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    /// Its number.
    pub generation: u64,
    /// What stands for its key.
    pub fingerprint: Fingerprint,
}

/// What a lock interrupts, when the peer is locked only because this machine was rebooted, or because what stands on it is
/// no key of anybody's (`own`): the lock key of the interface's own file after a reload, or what this agent itself had put
/// there. `earlier` is what an earlier such lock has interrupted.
pub fn interrupted(view: &View<'_>, own: bool, earlier: Option<Interrupted>) -> Option<Interrupted> {
    let held = view.held?;
    let came_back = !view.same_boot || (own && view.observed != Some(held.fingerprint));
    let goes_on = match held.hold {
        // moments of another boot mean nothing; the bastion knows better
        Hold::Open { deadline } => !view.same_boot || (deadline > view.now && view.idled().is_none()),
        Hold::Waiting { .. } => true,
        Hold::Locked { .. } => return earlier.filter(|_| came_back),
        Hold::Override { .. } => false,
    };
    let this = Interrupted { generation: held.generation, fingerprint: held.fingerprint };
    (came_back && goes_on).then_some(this)
}

/// Until when a locked peer accepts again the generation that was taken off it: the very key that stood there, as long as
/// nothing newer was made and the bastion says that somebody's session with it goes on.
///
/// # Errors
/// It stays locked, and why.
pub fn restore(
    view: &View<'_>,
    interrupted: Option<Interrupted>,
    generation: u64,
    fingerprint: Fingerprint,
) -> Result<Boottime, Refusal> {
    let stay = |why: &str| Err(Refusal::Stay(why.to_owned()));
    let held = held(view)?;
    still_good(view)?;
    let Hold::Locked { .. } = held.hold else { return stay("it is not locked") };
    if interrupted != Some(Interrupted { generation, fingerprint }) || held.generation != generation {
        return stay("that key did not stand there last");
    }
    match view.contact {
        Contact::Assigned(Assignment { standing: Standing::Released { generation: told, seconds_left }, .. })
            if *told == generation && *seconds_left > 0 =>
        {
            Ok(view.now.plus_seconds(*seconds_left))
        }
        _ => stay("its session is over"),
    }
}

/// What stands on the peer is what the agent put there, and in its time.
fn still_good(view: &View<'_>) -> Result<(), Refusal> {
    match plan(view).into_iter().next() {
        Some(Action::Lock { reason }) => Err(Refusal::Lock(reason)),
        _ => Ok(()),
    }
}

/// The deadline of the session that runs.
fn session(hold: &Hold) -> Result<Boottime, Refusal> {
    match hold {
        Hold::Open { deadline } => Ok(*deadline),
        Hold::Waiting { .. } => Err(Refusal::Stay("no session runs there".to_owned())),
        Hold::Override { .. } => Err(Refusal::Stay("opened by root on this host".to_owned())),
        Hold::Locked { reason } => Err(Refusal::Stay(format!("locked: {reason}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{PresharedKey, PublicKey};

    fn at(seconds: u64) -> Boottime {
        Boottime::from_millis(seconds * 1000)
    }

    fn fingerprint(seed: u8) -> Fingerprint {
        let [one, other] = [1, 2].map(|byte| PublicKey::from_bytes([byte; 32]));
        PresharedKey::from_bytes([seed; 32]).unwrap().fingerprint(&one, &other)
    }

    fn held(hold: Hold) -> Held {
        Held { generation: 7, fingerprint: fingerprint(1), hold, rotation_interval: 30 }
    }

    fn view(held: &Held) -> View<'_> {
        let contact = Contact::Lost(Some(at(100)));
        View { now: at(100), same_boot: true, observed: Some(fingerprint(1)), held: Some(held), idle: None, contact }
    }

    fn term(seconds_left: u64) -> Term {
        Term { sent: at(100), seconds_left }
    }

    fn holds() -> [Hold; 4] {
        [
            Hold::Waiting { since: at(90) },
            Hold::Open { deadline: at(150) },
            Hold::Override { deadline: at(150) },
            Hold::Locked { reason: "the session's deadline has passed".to_owned() },
        ]
    }

    #[test]
    fn an_order_that_was_long_on_its_way_prolongs_nothing() {
        assert_eq!(sent_at_worst(at(100), at(1), Some(at(90))), at(100));
        assert_eq!(
            sent_at_worst(at(100), at(99), Some(at(2))),
            at(100),
            "the connection is younger than the order can be"
        );
        assert_eq!(sent_at_worst(at(3000), at(1), Some(at(90))), at(90), "suspended while it was on its way");
        assert_eq!(sent_at_worst(at(3000), at(1), None), at(1));
        let late = Err(Refusal::Stay("the order came too late".to_owned()));
        for hold in holds().into_iter().take(2) {
            let held = held(hold);
            assert_eq!(open(&view(&held), 7, Term { sent: at(70), seconds_left: 30 }), late);
        }
        let running = held(Hold::Open { deadline: at(150) });
        assert_eq!(
            change(&view(&running), Some(8), 8, Term { sent: at(70), seconds_left: 30 }),
            late.map(|_: Opening| at(0))
        );
    }

    #[test]
    fn only_what_stands_on_the_peer_is_opened_and_no_session_is_shortened() {
        let opened = holds().map(|hold| open(&view(&held(hold)), 7, term(20)).ok());
        let fresh = Some(Opening { deadline: at(120), fresh: true });
        assert_eq!(opened, [fresh, Some(Opening { deadline: at(150), fresh: false }), None, None]);
        let [waiting, running, ..] = holds().map(held);
        assert_eq!(open(&view(&running), 7, term(90)), Ok(Opening { deadline: at(190), fresh: false }));
        for other in [6, 8] {
            assert!(matches!(open(&view(&waiting), other, term(20)), Err(Refusal::Stay(_))), "{other}");
        }
        let nothing = View { held: None, ..view(&waiting) };
        assert!(matches!(open(&nothing, 7, term(20)), Err(Refusal::Stay(_))));
    }

    #[test]
    fn what_is_past_its_time_or_was_changed_from_outside_is_locked() {
        let over = held(Hold::Open { deadline: at(100) });
        let running = held(Hold::Open { deadline: at(150) });
        let foreign = View { observed: Some(fingerprint(2)), ..view(&running) };
        for view in [view(&over), foreign] {
            assert!(matches!(open(&view, 7, term(20)), Err(Refusal::Lock(_))));
            assert!(matches!(next_generation(&view, 0, None), Err(Refusal::Lock(_))));
            assert!(matches!(change(&view, Some(8), 8, term(20)), Err(Refusal::Lock(_))));
        }
    }

    #[test]
    fn only_an_accident_interrupts_a_session() {
        let [waiting, running, override_, locked] = holds().map(held);
        let this = Some(Interrupted { generation: 7, fingerprint: fingerprint(1) });
        let rebooted = |held| View { same_boot: false, observed: Some(fingerprint(3)), ..view(held) };
        let reloaded = |held| View { observed: Some(fingerprint(3)), ..view(held) };
        for held in [&waiting, &running] {
            assert_eq!(interrupted(&rebooted(held), false, None), this);
            assert_eq!(interrupted(&reloaded(held), true, None), this);
            assert_eq!(interrupted(&reloaded(held), false, None), None, "somebody's key");
            assert_eq!(interrupted(&view(held), true, None), None, "a lock that was ordered");
        }
        let over = held(Hold::Open { deadline: at(100) });
        assert_eq!(interrupted(&reloaded(&over), true, None), None);
        assert_eq!(interrupted(&rebooted(&over), true, None), this, "the bastion knows");
        let idle = Some(crate::rotation::Idle { since: at(0), timeout: 60 });
        assert_eq!(interrupted(&View { idle, ..reloaded(&running) }, true, None), None);
        assert_eq!(interrupted(&rebooted(&override_), true, this), None);
        assert_eq!(interrupted(&reloaded(&locked), true, this), this, "locked twice");
        assert_eq!(interrupted(&reloaded(&locked), true, None), None);
        assert_eq!(interrupted(&reloaded(&locked), false, this), None);
        assert_eq!(interrupted(&view(&locked), true, this), None, "root has locked it");
    }

    fn told<'a>(held: &'a Held, assignment: &'a Assignment) -> View<'a> {
        View { contact: Contact::Assigned(assignment), ..view(held) }
    }

    #[track_caller]
    fn stays_locked(view: &View<'_>, interrupted: Option<Interrupted>, generation: u64, key: u8) {
        assert!(restore(view, interrupted, generation, fingerprint(key)).is_err(), "{view:?}");
    }

    #[test]
    fn what_was_interrupted_is_restored_while_its_session_goes_on() {
        let peer = crate::message::agent::PeerRef {
            interface: "wg0".parse().unwrap(),
            public_key: PublicKey::from_bytes([2; 32]),
        };
        let assignment = |standing| Assignment {
            peer: peer.clone(),
            connection: "gw/wg0:laptop".to_owned(),
            policy: None,
            rotation_interval: 30,
            idle_timeout: None,
            highest_generation: 7,
            standing,
        };
        let released = assignment(Standing::Released { generation: 7, seconds_left: 20 });
        let this = Some(Interrupted { generation: 7, fingerprint: fingerprint(2) });
        let [waiting, running, override_, locked] = holds().map(held);
        assert_eq!(restore(&told(&locked, &released), this, 7, fingerprint(2)), Ok(at(120)));
        stays_locked(&told(&locked, &released), None, 7, 2);
        stays_locked(&told(&locked, &released), this, 7, 3);
        stays_locked(&told(&locked, &released), this, 6, 2);
        for held in [&waiting, &running, &override_] {
            stays_locked(&told(held, &released), this, 7, 2);
        }
        let newer = Held { generation: 8, ..locked.clone() };
        stays_locked(&told(&newer, &released), this, 7, 2);
        stays_locked(&view(&locked), this, 7, 2);
        stays_locked(&View { observed: Some(fingerprint(9)), ..told(&locked, &released) }, this, 7, 2);
        for standing in [
            Standing::Released { generation: 7, seconds_left: 0 },
            Standing::Released { generation: 8, seconds_left: 20 },
            Standing::Waiting { generation: 7, age_seconds: 1 },
            Standing::Missing { reason: "over".to_owned() },
            Standing::KeepLocked { reason: "device disabled".to_owned() },
        ] {
            let assignment = assignment(standing);
            stays_locked(&told(&locked, &assignment), this, 7, 2);
        }
    }

    #[test]
    fn the_next_generation_is_above_all_that_were_there() {
        let running = held(Hold::Open { deadline: at(150) });
        for (above, made, next) in [(0, None, 8), (7, None, 8), (9, None, 10), (7, Some(8), 9), (12, Some(8), 13)] {
            assert_eq!(next_generation(&view(&running), above, made), Ok(next), "{above} {made:?}");
        }
        assert!(next_generation(&view(&running), u64::MAX, None).is_err());
        let made = holds().map(|hold| next_generation(&view(&held(hold)), 7, None).is_ok());
        assert_eq!(made, [false, true, false, false], "only a session that runs is renewed");
    }

    #[test]
    fn a_session_changes_to_the_generation_that_was_made_for_it_and_to_no_other() {
        let running = held(Hold::Open { deadline: at(150) });
        assert_eq!(change(&view(&running), Some(8), 8, term(90)), Ok(at(190)));
        assert_eq!(change(&view(&running), Some(8), 8, term(20)), Ok(at(150)), "no session is shortened");
        for (made, generation) in [(None, 8), (Some(9), 8), (Some(8), 9), (Some(7), 7), (Some(6), 6)] {
            let refused = change(&view(&running), made, generation, term(90));
            assert!(matches!(refused, Err(Refusal::Stay(_))), "{made:?} {generation}");
        }
        let changed = holds().map(|hold| change(&view(&held(hold)), Some(8), 8, term(20)).is_ok());
        assert_eq!(changed, [false, true, false, false]);
    }
}
