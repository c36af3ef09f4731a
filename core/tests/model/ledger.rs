//! The rules of the design, as predicates over what happened and over what stands. No program of wgmfa can see what the
//! ledger sees: it knows which key is whose, and the true time.

mod rules;

use std::collections::{BTreeMap, BTreeSet};

use wgmfa_core::login::CodeUse;

use super::key::{Key, Kind};
use super::site::Place;
use super::world::World;
use rules::*;

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
        reason: String,
    },
    /// The agent was ordered to accept a generation until then; the keeper may die before it records the release.
    Opened {
        place: Place,
        generation: u64,
        until: u64,
    },
    /// A bastion's word made the interface accept the next generation of a session, and no other; the agent was ordered to
    /// accept it until then.
    Renewed {
        place: Place,
        generation: u64,
        before: u64,
        until: u64,
    },
    /// A login was given the next generation of a session, not to be used yet.
    Promised {
        login: u64,
        place: Place,
        generation: u64,
    },
    /// A client has put a generation into its interface.
    Used {
        place: Place,
        generation: u64,
    },
    /// Root opened a peer until then.
    Overridden {
        place: Place,
        until: u64,
    },
    /// A generation is confirmed, and waits at the bastion for a login.
    Waits {
        place: Place,
        generation: u64,
    },
    /// A generation is over at the bastion.
    Ended {
        place: Place,
        generation: u64,
    },
    /// The agent has looked at its interface, and left this standing there; and when it takes which sessions for over if
    /// no handshake comes.
    Looked {
        host: usize,
        slots: Vec<Option<Key>>,
        idle: Vec<(usize, u64)>,
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
    /// The bastion takes whoever speaks for this host; who it really is.
    Proved {
        host: usize,
        by: usize,
    },
    /// A code was accepted; whether password and code were really that person's.
    CodeAccepted {
        login: u64,
        user: usize,
        used: CodeUse,
        proved: bool,
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
    /// Which generation each took the place of, in the session that ran.
    renewed: BTreeMap<u64, u64>,
    /// What logins were given to change to.
    promised: BTreeSet<u64>,
    /// When the newest was applied, and the interval that its agent knows.
    applied_at: u64,
    interval: u64,
    overridden: u64,
}

impl Line {
    /// A generation and those whose session it has taken over.
    fn session(&self, generation: u64) -> impl Iterator<Item = u64> + '_ {
        std::iter::successors(Some(generation), |one| self.renewed.get(one).copied())
    }

    /// Until when a generation may be accepted at most, if it was released: it, or one whose session it has taken over.
    fn until(&self, generation: u64) -> Option<u64> {
        self.session(generation).filter_map(|one| self.until.get(&one).copied()).max()
    }

    /// When its session was first released.
    fn released(&self, generation: u64) -> Option<u64> {
        self.session(generation).filter_map(|one| self.released.get(&one).copied()).min()
    }

    /// Until when its agent was ordered to accept it.
    fn ordered(&self, generation: u64) -> u64 {
        self.session(generation).filter_map(|one| self.ordered.get(&one).copied()).max().unwrap_or(0)
    }
}

/// What the rules need to remember.
#[derive(Debug, Default)]
pub struct Ledger {
    lines: BTreeMap<Place, Line>,
    codes: BTreeMap<usize, (Option<u64>, BTreeSet<u8>)>,
    logins: BTreeMap<u64, (usize, u64)>,
    spent: BTreeSet<u64>,
    /// What each login has released.
    given: BTreeMap<u64, BTreeSet<Place>>,
    contacts: BTreeMap<usize, u64>,
    /// Hosts that were rebooted and have not heard from the bastion.
    rebooted: BTreeSet<usize>,
    pub releases: usize,
    pub renewals: usize,
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
                    self.what_was_promised_waits_for_nobody(place, generation)?;
                    let line = self.lines.entry(place).or_default();
                    (line.applied_at, line.interval) = (at, interval);
                }
                Happened::Renewed { place, generation, before, until } => {
                    self.deposited_before_applied(place, generation)?;
                    self.applied_numbers_only_go_up(place, generation)?;
                    self.only_what_was_promised_renews(place, generation)?;
                    let line = self.lines.entry(place).or_default();
                    line.renewed.insert(generation, before);
                    line.ordered.insert(generation, until);
                    self.renewals += 1;
                }
                Happened::Promised { login, place, generation } => {
                    self.deposited_before_promised(place, generation)?;
                    self.one_login_renews_what_it_releases(login, place)?;
                    self.lines.entry(place).or_default().promised.insert(generation);
                }
                Happened::Used { place, generation } => self.only_applied_generations_are_used(place, generation)?,
                Happened::Proved { host, by } => a_host_is_known_by_its_key(host, by)?,
                Happened::Locked { place, remembered, reason } => {
                    no_renewal_ends_a_session(world, place, &reason)?;
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
                Happened::Waits { place, generation } => self.what_was_promised_waits_for_nobody(place, generation)?,
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
                Happened::Looked { host, slots, idle, at } => self.what_stands(host, &slots, &idle, at, still)?,
                Happened::CodeAccepted { login, user, used, proved, at } => {
                    a_person_is_known_by_password_and_code(user, proved)?;
                    self.one_code_is_accepted_once(login, user, used, at.saturating_sub(still))?;
                }
                Happened::Released { login, user, device, items, at } => {
                    self.one_login_releases_once_and_soon(login, user, at.saturating_sub(still))?;
                    one_login_opens_one_device(&world.site, user, device, &items)?;
                    nobody_who_is_cut_off_gets_a_key(world, &items)?;
                    what_a_server_has_locked_unheard_is_not_released(world, &items)?;
                    self.only_applied_generations_are_released(&items)?;
                    self.what_is_over_is_not_released(&items)?;
                    self.given.insert(login, items.iter().map(|item| item.place).collect());
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
        the_bastions_time_is_never_below_what_is_recorded(world)?;
        for host in world.hosts.iter().filter(|host| host.resident && host.agent.is_some()) {
            self.what_stands(host.number, &host.slots, &host.idle(), world.now, world.stood_still())?;
        }
        Ok(())
    }

    /// What an agent that has looked leaves standing.
    fn what_stands(
        &self,
        host: usize,
        slots: &[Option<Key>],
        idle: &[(usize, u64)],
        at: u64,
        stood_still: u64,
    ) -> Broken {
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
                    no_session_goes_on_without_handshakes(place, idle, at)?;
                    if self.rebooted.contains(&host) {
                        let rule = "after a reboot every MFA peer is locked until the bastion has said what is left";
                        return broken(3, rule, place, &format!("generation {generation} is accepted"));
                    }
                }
            }
        }
        Ok(())
    }
}
