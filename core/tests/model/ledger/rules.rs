//! The rules, each as a predicate.

use wgmfa_core::login::CodeUse;
use wgmfa_core::order::LATE;

use super::{Broken, Item, Ledger, Line};
use crate::site::{Place, Site};
use crate::world::World;

/// Between the decision and its record servers have so long to answer, in seconds.
const CONFIRMED_WITHIN: u64 = 3;

impl Ledger {
    /// Rule 4: generations only go up.
    pub(super) fn numbers_only_go_up(&mut self, place: Place, generation: u64) -> Broken {
        let line = self.lines.entry(place).or_default();
        if line.stored.last().is_some_and(|last| *last >= generation) {
            return broken(
                4,
                "generations only go up",
                place,
                &format!("{generation} was stored after {:?}", line.stored),
            );
        }
        line.stored.insert(generation);
        Ok(())
    }

    /// Rule 2: the bastion has a generation on disk before a server uses it.
    pub(super) fn deposited_before_applied(&mut self, place: Place, generation: u64) -> Broken {
        let line = self.lines.entry(place).or_default();
        if line.stored.contains(&generation) {
            return Ok(());
        }
        broken(2, "deposit before apply", place, &format!("generation {generation} is on no disk"))
    }

    /// Rule 4, on the interface.
    pub(super) fn applied_numbers_only_go_up(&mut self, place: Place, generation: u64) -> Broken {
        let line = self.lines.entry(place).or_default();
        if line.applied.last().is_some_and(|last| *last >= generation) {
            let what = format!("{generation} was applied after {:?}", line.applied);
            return broken(4, "generations only go up", place, &what);
        }
        line.over.extend(line.applied.iter());
        line.applied.insert(generation);
        line.overridden = 0;
        Ok(())
    }

    /// Rule 1: only a generation that the server side has confirmed as applied is released.
    pub(super) fn only_applied_generations_are_released(&self, items: &[Item]) -> Broken {
        for Item { place, generation, .. } in items {
            if !self.lines.get(place).is_some_and(|line| line.applied.contains(generation)) {
                let what = format!("generation {generation} was released and never applied");
                return broken(1, "apply before publish", *place, &what);
            }
        }
        Ok(())
    }

    /// Rule 1, of the next generation of a session: the client has it before the server side accepts it, and uses it
    /// only after.
    pub(super) fn only_applied_generations_are_used(&self, place: Place, generation: u64) -> Broken {
        if self.lines.get(&place).is_some_and(|line| line.applied.contains(&generation)) {
            return Ok(());
        }
        let what = format!("a client uses generation {generation}, which was never applied");
        broken(1, "apply before publish", place, &what)
    }

    /// Rule 2: nobody is given what is on no disk.
    pub(super) fn deposited_before_promised(&self, place: Place, generation: u64) -> Broken {
        if self.lines.get(&place).is_some_and(|line| line.stored.contains(&generation)) {
            return Ok(());
        }
        broken(2, "deposit before apply", place, &format!("generation {generation} was given, and is on no disk"))
    }

    /// Rule 4: what a client was given to renew a session is no key for another session.
    pub(super) fn what_was_promised_waits_for_nobody(&self, place: Place, generation: u64) -> Broken {
        if self.lines.get(&place).is_some_and(|line| line.promised.contains(&generation)) {
            let what = format!("generation {generation} was given to a client, and waits for another login");
            return broken(4, "what renews a session is over with it", place, &what);
        }
        Ok(())
    }

    /// Rule 6: the next generation too goes to the login that has released the one before it.
    pub(super) fn one_login_renews_what_it_releases(&self, login: u64, place: Place) -> Broken {
        if self.given.get(&login).is_some_and(|given| given.contains(&place)) {
            return Ok(());
        }
        broken(6, "one login, one device", place, &format!("login {login} was given a key that it has not released"))
    }

    /// Rule 4: what is over at the bastion takes over no session.
    pub(super) fn only_what_was_promised_renews(&self, place: Place, generation: u64) -> Broken {
        if self.lines.get(&place).is_some_and(|line| line.promised.contains(&generation)) {
            return Ok(());
        }
        broken(4, "a session changes to its next generation only", place, &format!("{generation} was given to nobody"))
    }

    /// Rule 4: what has expired at the bastion is given to nobody.
    pub(super) fn what_is_over_is_not_released(&self, items: &[Item]) -> Broken {
        for Item { place, generation, .. } in items {
            if self.lines.get(place).is_some_and(|line| line.ended.contains(generation)) {
                return broken(4, "what is over is never released", *place, &format!("generation {generation} was"));
            }
        }
        Ok(())
    }

    /// Rule 5: a one-time code is accepted once, and no older one after it; a recovery code once.
    pub(super) fn one_code_is_accepted_once(&mut self, login: u64, user: usize, used: CodeUse, at: u64) -> Broken {
        let (last, recovery) = self.codes.entry(user).or_default();
        let fresh = match used {
            CodeUse::Step(step) => last.replace(step.number()) < Some(step.number()),
            CodeUse::Recovery([number, ..]) => recovery.insert(number),
            CodeUse::Telephone(_) | CodeUse::Nothing => false,
        };
        if fresh && self.logins.insert(login, (user, at)).is_none() {
            return Ok(());
        }
        Err(format!(
            "rule 5: one code, one login, one release: person {user}, login {login}: {used:?} was accepted again"
        ))
    }

    /// Rule 5: a login that has itself used a code may release once, or pay for an act once, within 60 s (and the two in
    /// which servers answer).
    pub(super) fn one_login_releases_once_and_soon(&mut self, login: u64, user: usize, at: u64) -> Broken {
        let what = match self.logins.get(&login) {
            Some((owner, _)) if *owner != user => "it is another person's",
            Some((_, accepted)) if at > accepted + 62_000 => "it is too old",
            Some(_) if self.spent.insert(login) => return Ok(()),
            Some(_) => "it was spent before",
            None => "it has used no code",
        };
        Err(format!("rule 5: one code, one login, one release: login {login}: {what}"))
    }
}

/// Rule 6: one login releases what belongs to the device that it names, and that is the person's own.
pub(super) fn one_login_opens_one_device(site: &Site, user: usize, device: usize, items: &[Item]) -> Broken {
    for Item { place, .. } in items {
        if site.device(*place) != device || site.owners[device] != user {
            return broken(6, "one login, one device", *place, &format!("released to person {user} for {device}"));
        }
    }
    Ok(())
}

/// Rule 7: a host is who holds its key.
pub(super) fn a_host_is_known_by_its_key(host: usize, by: usize) -> Broken {
    if host == by {
        return Ok(());
    }
    Err(format!("rule 7: nothing identifies itself by anything but its key: host {by} is taken for host {host}"))
}

/// Rule 7: a person is who has given that person's password and code.
pub(super) fn a_person_is_known_by_password_and_code(user: usize, proved: bool) -> Broken {
    if proved {
        return Ok(());
    }
    Err(format!("rule 7: nothing identifies itself by anything but its login: somebody is taken for person {user}"))
}

/// Rule 8: a renewal that goes wrong leaves the session as it is. (An answer that comes twice may be taken for the next
/// one: then the session is locked.)
pub(super) fn no_renewal_ends_a_session(world: &World, place: Place, reason: &str) -> Broken {
    if !world.repeated && reason == "the released generation is not the one on this server" {
        return broken(8, "an outage stops new sessions alone", place, reason);
    }
    Ok(())
}

/// Rule 3: a session that needs handshakes ends without them, and needs nobody for that.
pub(super) fn no_session_goes_on_without_handshakes((host, peer): Place, idle: &[(usize, u64)], at: u64) -> Broken {
    match idle.iter().find(|(open, over)| *open == peer && *over < at) {
        Some((_, over)) => {
            let what = format!("{} ms after it should have ended for want of handshakes", at - over);
            broken(3, "expiry needs nobody", (host, peer), &what)
        }
        None => Ok(()),
    }
}

/// Rule 4: a clock that is set back makes nothing young again.
pub(super) fn the_bastions_time_is_never_below_what_is_recorded(world: &World) -> Broken {
    let (time, recorded) = (world.bastion.time(world.now), world.bastion.store.last_time);
    if time >= recorded {
        return Ok(());
    }
    Err(format!("rule 4: the bastion's time never runs below its last recorded time: {time} after {recorded}"))
}

/// Rules 1 and 3: a server that was not heard for an interval, whichever is in force there, has locked what waited.
pub(super) fn what_a_server_has_locked_unheard_is_not_released(world: &World, items: &[Item]) -> Broken {
    for Item { place, .. } in items {
        let intervals = world.site.served.iter().map(|served| served[place.0][place.1].rotation_interval);
        let longest = intervals.max().unwrap_or(0) + CONFIRMED_WITHIN;
        if let Some(unheard) = world.bastion.unheard(place.0, world.now).filter(|unheard| *unheard > longest) {
            return broken(1, "apply before publish", *place, &format!("its server was not heard for {unheard} s"));
        }
    }
    Ok(())
}

/// Rule 8: fail closed on release.
pub(super) fn nobody_who_is_cut_off_gets_a_key(world: &World, items: &[Item]) -> Broken {
    for Item { place, .. } in items {
        if let Some(reason) = world.bastion.cut_off(&world.site, *place) {
            return broken(8, "nobody who is cut off gets a key", *place, &reason);
        }
    }
    Ok(())
}

/// Rule 3: the gateway enforces a deadline by itself, also when it has heard of no release: then one interval after its
/// last contact. An order may have been on its way for some seconds.
pub(super) fn nothing_is_accepted_after_its_deadline(
    line: &Line,
    place: Place,
    generation: u64,
    contact: u64,
    at: u64,
    stood_still: u64,
) -> Broken {
    let Some((until, released)) = line.until(generation).zip(line.released(generation)) else {
        return Ok(());
    };
    let unheard = if contact <= released { contact.max(line.applied_at) + line.interval * 1000 } else { 0 };
    let ordered = line.ordered(generation);
    let until = (until + stood_still).max(unheard).max(ordered) + LATE * 1000;
    if at <= until {
        return Ok(());
    }
    let what = format!("generation {generation} is accepted {} ms after its deadline", at - until);
    broken(3, "expiry needs nobody", place, &what)
}

/// Rule 4: also not after a reboot, a `wg syncconf`, a restored file or backup, or a replayed message.
pub(super) fn what_has_expired_is_never_accepted_again(line: &Line, place: Place, generation: u64) -> Broken {
    if line.over.contains(&generation) {
        let what = format!("generation {generation} is accepted");
        return broken(4, "a key that has expired is never accepted again", place, &what);
    }
    Ok(())
}

/// Rules 4 and 8: a key that did not come by a release is root's, and only for the time that root said.
pub(super) fn a_key_from_elsewhere_is_roots_and_within_its_time(line: &Line, place: Place, now: u64) -> Broken {
    if now < line.overridden {
        return Ok(());
    }
    broken(4, "a key from elsewhere is locked", place, "another key than the agent's is accepted")
}

pub(super) fn broken(rule: u8, text: &str, (host, peer): Place, what: &str) -> Broken {
    Err(format!("rule {rule}: {text}: host {host}, peer {peer}: {what}"))
}
