//! The rules of the design, as predicates over what happened and over what stands. No program of wgmfa can see what the
//! ledger sees: it knows which key is whose, and the true time.

use std::collections::{BTreeMap, BTreeSet};

use wgmfa_core::login::CodeUse;

use super::host::LATE;
use super::key::{Key, Kind};
use super::site::{Place, Site};
use super::world::World;

/// What a release gave for one connection.
#[derive(Debug, Clone)]
pub struct Item {
    pub place: Place,
    pub generation: u64,
    pub seconds: u64,
}

/// What happened, at the moment at which it could not be undone.
#[derive(Debug, Clone)]
pub enum Happened {
    /// The bastion has it on disk.
    Stored {
        place: Place,
        generation: u64,
    },
    /// The interface accepts it: the peer was removed and added again.
    Applied {
        place: Place,
        generation: u64,
        interval: u64,
        at: u64,
    },
    /// The interface has a lock key; on a full disk the agent does not remember it when it is started again.
    Locked {
        place: Place,
        remembered: bool,
    },
    /// The agent was ordered to accept a generation until then; the keeper may die before it records the release.
    Opened {
        place: Place,
        generation: u64,
        until: u64,
    },
    /// Root opened a peer until then.
    Overridden {
        place: Place,
        until: u64,
    },
    /// A generation is over at the bastion.
    Ended {
        place: Place,
        generation: u64,
    },
    /// The agent has looked at its interface, and left this standing there.
    Looked {
        host: usize,
        slots: Vec<Option<Key>>,
        at: u64,
    },
    /// The bastion has said what is left.
    Told {
        host: usize,
    },
    /// The agent remembers by which intervals keys rotate.
    Learned {
        host: usize,
        intervals: Vec<(usize, u64)>,
    },
    /// The last contact that an agent remembers.
    Contact {
        host: usize,
        at: u64,
    },
    Rebooted {
        host: usize,
    },
    CodeAccepted {
        login: u64,
        user: usize,
        used: CodeUse,
        at: u64,
    },
    Released {
        login: u64,
        user: usize,
        device: usize,
        items: Vec<Item>,
        at: u64,
    },
    /// A login has paid for an administrator's act.
    Acted {
        login: u64,
        user: usize,
        at: u64,
    },
    /// A connection was not released, and why.
    Refused {
        place: Place,
        reason: String,
    },
}

/// A broken rule.
pub type Broken = Result<(), String>;

#[derive(Debug, Default)]
struct Line {
    stored: BTreeSet<u64>,
    applied: BTreeSet<u64>,
    /// Over at the server side: replaced, or locked.
    over: BTreeSet<u64>,
    ended: BTreeSet<u64>,
    /// Until when each generation that was released may be accepted at most, in true time less what the bastion's time
    /// has stood still.
    until: BTreeMap<u64, u64>,
    /// Until when its agent was ordered to accept each, in true time.
    ordered: BTreeMap<u64, u64>,
    /// When each generation was first released.
    released: BTreeMap<u64, u64>,
    /// When the newest was applied, and the interval that its agent knows.
    applied_at: u64,
    interval: u64,
    overridden: u64,
}

/// What the rules need to remember.
#[derive(Debug, Default)]
pub struct Ledger {
    lines: BTreeMap<Place, Line>,
    codes: BTreeMap<usize, (Option<u64>, BTreeSet<u8>)>,
    logins: BTreeMap<u64, (usize, u64)>,
    spent: BTreeSet<u64>,
    contacts: BTreeMap<usize, u64>,
    /// Hosts that were rebooted and have not heard from the bastion.
    rebooted: BTreeSet<usize>,
    pub releases: usize,
    pub refusals: Vec<(Place, String)>,
}

impl Ledger {
    /// Judges everything that has happened, in its order.
    pub fn take(&mut self, happened: Vec<Happened>, world: &World) -> Broken {
        let still = world.stood_still();
        for one in happened {
            match one {
                Happened::Stored { place, generation } => self.numbers_only_go_up(place, generation)?,
                Happened::Applied { place, generation, interval, at } => {
                    self.deposited_before_applied(place, generation)?;
                    self.applied_numbers_only_go_up(place, generation)?;
                    let line = self.lines.entry(place).or_default();
                    (line.applied_at, line.interval) = (at, interval);
                }
                Happened::Locked { place, remembered } => {
                    let line = self.lines.entry(place).or_default();
                    if remembered {
                        line.over.extend(line.applied.iter());
                    }
                    line.overridden = 0;
                }
                Happened::Opened { place, generation, until } => {
                    let ordered = self.lines.entry(place).or_default().ordered.entry(generation).or_default();
                    *ordered = until.max(*ordered);
                }
                Happened::Overridden { place, until } => {
                    let line = self.lines.entry(place).or_default();
                    line.over.extend(line.applied.iter());
                    line.overridden = until;
                }
                Happened::Ended { place, generation } => {
                    self.lines.entry(place).or_default().ended.insert(generation);
                }
                Happened::Rebooted { host } => drop(self.rebooted.insert(host)),
                Happened::Told { host } => drop(self.rebooted.remove(&host)),
                Happened::Learned { host, intervals } => {
                    for (peer, interval) in intervals {
                        self.lines.entry((host, peer)).or_default().interval = interval;
                    }
                }
                Happened::Contact { host, at } => drop(self.contacts.insert(host, at)),
                Happened::Looked { host, slots, at } => self.what_stands(host, &slots, at, still)?,
                Happened::CodeAccepted { login, user, used, at } => {
                    self.one_code_is_accepted_once(login, user, used, at.saturating_sub(still))?;
                }
                Happened::Released { login, user, device, items, at } => {
                    self.one_login_releases_once_and_soon(login, user, at.saturating_sub(still))?;
                    one_login_opens_one_device(&world.site, user, device, &items)?;
                    nobody_who_is_cut_off_gets_a_key(world, &items)?;
                    self.only_applied_generations_are_released(&items)?;
                    self.what_is_over_is_not_released(&items)?;
                    for Item { place, generation, seconds } in items {
                        // the bastion's time and true time differ by what it has stood still
                        let until = at.saturating_sub(still) + seconds * 1000;
                        let line = self.lines.entry(place).or_default();
                        let known = line.until.entry(generation).or_default();
                        *known = until.max(*known);
                        line.released.entry(generation).or_insert(at);
                    }
                    self.releases += 1;
                }
                Happened::Acted { login, user, at } => {
                    self.one_login_releases_once_and_soon(login, user, at.saturating_sub(still))?;
                }
                Happened::Refused { place, reason } => self.refusals.push((place, reason)),
            }
        }
        Ok(())
    }

    /// What holds at every moment, wherever an agent runs that stays.
    pub fn look(&self, world: &World) -> Broken {
        for host in world.hosts.iter().filter(|host| host.resident && host.agent.is_some()) {
            self.what_stands(host.number, &host.slots, world.now, world.stood_still())?;
        }
        Ok(())
    }

    /// What an agent that has looked leaves standing.
    fn what_stands(&self, host: usize, slots: &[Option<Key>], at: u64, stood_still: u64) -> Broken {
        for (peer, key) in slots.iter().enumerate() {
            let place = (host, peer);
            let Some(line) = self.lines.get(&place).filter(|line| !line.applied.is_empty()) else { continue };
            let Some(key) = key else {
                return broken(8, "no peer is ever left without a second factor", place, "it has no preshared key");
            };
            match key.kind {
                Kind::Lock => {}
                Kind::Foreign => a_key_from_elsewhere_is_roots_and_within_its_time(line, place, at)?,
                Kind::Generation(generation) => {
                    let contact = self.contacts.get(&host).copied().unwrap_or(0);
                    nothing_is_accepted_after_its_deadline(line, place, generation, contact, at, stood_still)?;
                    what_has_expired_is_never_accepted_again(line, place, generation)?;
                    if self.rebooted.contains(&host) {
                        let rule = "after a reboot every MFA peer is locked until the bastion has said what is left";
                        return broken(3, rule, place, &format!("generation {generation} is accepted"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Rule 4: generations only go up.
    fn numbers_only_go_up(&mut self, place: Place, generation: u64) -> Broken {
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
    fn deposited_before_applied(&mut self, place: Place, generation: u64) -> Broken {
        let line = self.lines.entry(place).or_default();
        if line.stored.contains(&generation) {
            return Ok(());
        }
        broken(2, "deposit before apply", place, &format!("generation {generation} is on no disk"))
    }

    /// Rule 4, on the interface.
    fn applied_numbers_only_go_up(&mut self, place: Place, generation: u64) -> Broken {
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
    fn only_applied_generations_are_released(&self, items: &[Item]) -> Broken {
        for Item { place, generation, .. } in items {
            if !self.lines.get(place).is_some_and(|line| line.applied.contains(generation)) {
                let what = format!("generation {generation} was released and never applied");
                return broken(1, "apply before publish", *place, &what);
            }
        }
        Ok(())
    }

    /// Rule 4: what has expired at the bastion is given to nobody.
    fn what_is_over_is_not_released(&self, items: &[Item]) -> Broken {
        for Item { place, generation, .. } in items {
            if self.lines.get(place).is_some_and(|line| line.ended.contains(generation)) {
                return broken(4, "what is over is never released", *place, &format!("generation {generation} was"));
            }
        }
        Ok(())
    }

    /// Rule 5: a one-time code is accepted once, and no older one after it; a recovery code once.
    fn one_code_is_accepted_once(&mut self, login: u64, user: usize, used: CodeUse, at: u64) -> Broken {
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
    fn one_login_releases_once_and_soon(&mut self, login: u64, user: usize, at: u64) -> Broken {
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
fn one_login_opens_one_device(site: &Site, user: usize, device: usize, items: &[Item]) -> Broken {
    for Item { place, .. } in items {
        if site.device(*place) != device || site.owners[device] != user {
            return broken(6, "one login, one device", *place, &format!("released to person {user} for {device}"));
        }
    }
    Ok(())
}

/// Rule 8: fail closed on release.
fn nobody_who_is_cut_off_gets_a_key(world: &World, items: &[Item]) -> Broken {
    for Item { place, .. } in items {
        if let Some(reason) = world.bastion.cut_off(&world.site, *place) {
            return broken(8, "nobody who is cut off gets a key", *place, &reason);
        }
    }
    Ok(())
}

/// Rule 3: the gateway enforces a deadline by itself, also when it has heard of no release: then one interval after its
/// last contact. An order may have been on its way for some seconds.
fn nothing_is_accepted_after_its_deadline(
    line: &Line,
    place: Place,
    generation: u64,
    contact: u64,
    at: u64,
    stood_still: u64,
) -> Broken {
    let Some((until, released)) = line.until.get(&generation).zip(line.released.get(&generation)) else {
        return Ok(());
    };
    let unheard = if contact <= *released { contact.max(line.applied_at) + line.interval * 1000 } else { 0 };
    let ordered = line.ordered.get(&generation).copied().unwrap_or(0);
    let until = (until + stood_still).max(unheard).max(ordered) + LATE * 1000;
    if at <= until {
        return Ok(());
    }
    let what = format!("generation {generation} is accepted {} ms after its deadline", at - until);
    broken(3, "expiry needs nobody", place, &what)
}

/// Rule 4: also not after a reboot, a `wg syncconf`, a restored file or backup, or a replayed message.
fn what_has_expired_is_never_accepted_again(line: &Line, place: Place, generation: u64) -> Broken {
    if line.over.contains(&generation) {
        let what = format!("generation {generation} is accepted");
        return broken(4, "a key that has expired is never accepted again", place, &what);
    }
    Ok(())
}

/// Rules 4 and 8: a key that did not come by a release is root's, and only for the time that root said.
fn a_key_from_elsewhere_is_roots_and_within_its_time(line: &Line, place: Place, now: u64) -> Broken {
    if now < line.overridden {
        return Ok(());
    }
    broken(4, "a key from elsewhere is locked", place, "another key than the agent's is accepted")
}

fn broken(rule: u8, text: &str, (host, peer): Place, what: &str) -> Broken {
    Err(format!("rule {rule}: {text}: host {host}, peer {peer}: {what}"))
}
