//! What an agent says, and what it is told (`bastion/src/keeper/rounds.rs`, `bastion/src/keeper/renewal.rs`).

use jiff::{SignedDuration, Timestamp};
use wgmfa_core::message::agent::signed_text;
use wgmfa_core::release::Phase;
use wgmfa_core::rotation::{Assignment, Standing};
use wgmfa_core::standing::{Facts, standing};

use super::Bastion;
use super::store::{Generation, Record};
use crate::host::Died;
use crate::key::Key;
use crate::ledger::Happened;
use crate::network::{Down, Hello, Up};
use crate::site::{Place, Site};

impl Bastion {
    /// Which host has proved itself with this answer to a challenge, if one has. Any host's key opens the line: what
    /// counts is the signature.
    pub fn prove(&self, site: &Site, nonce: &str, hello: &Hello) -> Option<usize> {
        let claimed = site.hosts.iter().position(|name| *name == hello.host)?;
        let good = hello.signature.by == claimed && hello.signature.text == signed_text(nonce, &hello.host);
        (good && !self.store.disabled_hosts[claimed]).then_some(claimed)
    }

    /// Hears what a host's agent says.
    ///
    /// # Errors
    /// Killed in between. Otherwise none means: hang up.
    pub fn hear(
        &mut self,
        site: &Site,
        host: usize,
        message: Up,
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<Option<Vec<Down>>, Died> {
        self.heard(host, now);
        match message {
            Up::Report { fingerprints, comes_again, idled } => {
                if self.store.disabled_hosts[host] {
                    return Ok(None);
                }
                let time = self.write(now)?;
                self.store.last_seen[host] = Some(time);
                self.store.next_round[host] =
                    comes_again.map(|millis| time + SignedDuration::from_millis(i64::try_from(millis).unwrap()));
                for (peer, generation) in idled {
                    self.end_session((host, peer), generation, now, happened)?;
                }
                self.expire(now, happened)?;
                let stands = |(place, record): (&Place, &Record)| {
                    let deposited = record.deposited.as_ref().filter(|_| place.0 == host)?;
                    let same = fingerprints[place.1] == Some(deposited.key.fingerprint);
                    same.then_some((place.1, deposited.generation))
                };
                let applied: Vec<_> = self.store.records.range((host, 0)..(host + 1, 0)).filter_map(stands).collect();
                self.applied(host, &applied, now, happened)?;
                Ok(Some(vec![Down::Assignments(self.assignments(site, host, now, happened)?)]))
            }
            Up::Deposit(deposits) => {
                self.write(now)?;
                let mut stored = Vec::new();
                for (peer, generation, key) in deposits {
                    if self.deposit(site, (host, peer), Generation::deposited(generation, key, false), happened) {
                        stored.push((peer, generation));
                    }
                }
                Ok(Some(vec![Down::Stored(stored)]))
            }
            Up::Applied(applied) => {
                self.applied(host, &applied, now, happened)?;
                Ok(Some(vec![Down::Noted]))
            }
            Up::Opened { id, refused } => {
                let again = refused.is_some();
                for login in &mut self.keeper().logins {
                    login.answered(id, refused.as_deref(), happened);
                }
                Ok(Some(if again { vec![Down::Round] } else { Vec::new() }))
            }
            Up::Next { id, peer, next } => {
                self.take_next(site, (host, peer), id, next, now, happened)?;
                Ok(Some(Vec::new()))
            }
            Up::Changed { id, peer, generation, refused } => {
                // recorded also when nobody waits any more: it stands on the server
                let noted = match refused {
                    None => !self.applied(host, &[(peer, generation)], now, happened)?.is_empty(),
                    Some(_) => false,
                };
                self.keeper().logins.iter_mut().for_each(|login| login.changed(id, noted));
                Ok(Some(Vec::new()))
            }
        }
    }

    /// Takes a generation, sealed; answers whether it is on disk.
    fn deposit(&mut self, site: &Site, place: Place, new: Generation, happened: &mut Vec<Happened>) -> bool {
        self.cut_off(site, place).is_none()
            && self.store.records.entry(place).or_default().deposit(place, new, happened)
    }

    /// Notes what the server side accepts; answers with what can be so.
    fn applied(
        &mut self,
        host: usize,
        applied: &[(usize, u64)],
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<Vec<(usize, u64)>, Died> {
        let time = self.write(now)?;
        let mut noted = Vec::new();
        for (peer, generation) in applied {
            let place = (host, *peer);
            let record = self.store.records.get_mut(&place);
            if record.is_some_and(|record| record.applied(place, *generation, time, happened)) {
                noted.push((*peer, *generation));
            }
        }
        Ok(noted)
    }

    /// A server has made the next generation of a session; it is put on disk for the login that waits for it.
    fn take_next(
        &mut self,
        site: &Site,
        place: Place,
        id: u64,
        next: Option<(u64, Key)>,
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<(), Died> {
        if !self.keeper().logins.iter().any(|login| login.waits_for(id)) {
            return Ok(());
        }
        let mut next = next;
        if let Some((generation, key)) = next {
            self.write(now)?;
            if !self.deposit(site, place, Generation::deposited(generation, key, true), happened) {
                next = None;
            }
        }
        self.keeper().logins.iter_mut().for_each(|login| login.next_made(id, next));
        Ok(())
    }

    /// The server side says that a session is over before its deadline.
    fn end_session(
        &mut self,
        place: Place,
        generation: u64,
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<(), Died> {
        self.write(now)?;
        let current = self.store.records.get_mut(&place).and_then(|record| record.current.as_mut());
        let is_it = |one: &&mut Generation| one.generation == generation && matches!(one.phase, Phase::Released { .. });
        if let Some(current) = current.filter(is_it) {
            current.end(place, happened);
        }
        Ok(())
    }

    fn assignments(
        &mut self,
        site: &Site,
        host: usize,
        now: u64,
        happened: &mut Vec<Happened>,
    ) -> Result<Vec<(usize, Assignment)>, Died> {
        let time = self.time(now);
        let policies = self.keeper().policies;
        let (mut assignments, mut refused) = (Vec::new(), Vec::new());
        for peer in 0..site.peers[host].len() {
            let place = (host, peer);
            let record = self.store.records.get(&place).cloned();
            let served = &site.served[policies][host][peer];
            if !served.is_covered() && record.is_none() {
                continue;
            }
            let record = record.unwrap_or_default();
            let facts = Facts {
                cover: served.cover.clone(),
                cut_off: self.cut_off(site, place),
                newest: record.newest(),
                applied_at: record.current.as_ref().and_then(|current| current.applied_at),
                rotation_ordered: record.ordered.clone(),
            };
            let told = standing(&facts, self.session_time(place, &record, time, now));
            let waits = record.current.as_ref().is_some_and(|current| current.phase == Phase::Applied);
            if waits && matches!(told, Standing::KeepLocked { .. }) {
                refused.push(place);
            }
            let assignment = Assignment {
                peer: site.names[host][peer].clone(),
                connection: String::new(),
                policy: served.policy.clone(),
                rotation_interval: served.rotation_interval,
                idle_timeout: served.idle_timeout,
                highest_generation: record.highest,
                standing: told,
            };
            assignments.push((peer, assignment));
        }
        for place in refused {
            self.order_rotation(place, "the server was told to lock", now, happened)?;
        }
        Ok(assignments)
    }

    /// The time by which to say what is left of a session: the bastion's own may stand still.
    fn session_time(&mut self, place: Place, record: &Record, time: Timestamp, now: u64) -> Timestamp {
        let Some(Generation { phase: Phase::Released { deadline }, .. }) = record.current else { return time };
        let seen = self.keeper().sessions.entry(place).or_insert((deadline, time, now));
        if seen.0 != deadline {
            *seen = (deadline, time, now);
        }
        time.max(seen.1 + SignedDuration::from_millis(i64::try_from(now - seen.2).unwrap()))
    }
}
