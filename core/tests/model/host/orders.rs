//! What the agent does at an order (`agent/src/agent/open.rs`, `agent/src/agent/renew.rs`): open a peer, make the next
//! generation of its session, change to that in place.

use wgmfa_core::boottime::Boottime;
use wgmfa_core::order::{self, Opening, Refusal, Term, sent_at_worst};
use wgmfa_core::rotation::{Contact, Hold, View};

use super::kept::{self, Alive};
use super::{Around, Host, Living, Step};
use crate::key::{Key, Kind};
use crate::ledger::Happened;

/// Done, or why not, in words.
type Outcome<T> = Result<T, String>;

impl Host {
    pub(super) fn open(
        &mut self,
        peer: usize,
        generation: u64,
        seconds_left: u64,
        around: &mut Around<'_>,
    ) -> Living<Outcome<()>> {
        let now = self.clock(around.now);
        let term = self.term(now, seconds_left);
        if term.sent < now {
            self.want_round(around.now);
        }
        let Opening { deadline, fresh } = match order::open(&self.peer_view(peer, now), generation, term) {
            Ok(opening) => opening,
            Err(refusal) => return self.refuse(refusal, around),
        };
        let handshake = self.handshakes[peer].filter(|_| !fresh);
        let kept = self.memory().peers.get_mut(&peer).expect("it is opened");
        let before = std::mem::replace(&mut kept.held.hold, Hold::Open { deadline });
        kept.alive = Some(Alive { since: now, handshake });
        if !self.save()? {
            self.memory().peers.entry(peer).and_modify(|kept| kept.held.hold = before);
            return Ok(Err("the disk is full".to_owned()));
        }
        if fresh {
            self.put(peer, self.slots[peer].expect("its fingerprint was the one remembered"))?;
        }
        self.effect()?;
        let (place, until) = ((self.number, peer), self.true_time(term.sent.plus_seconds(seconds_left)));
        around.happened.push(Happened::Opened { place, generation, until });
        Ok(Ok(()))
    }

    /// Makes the generation that follows in a session that runs.
    pub(super) fn make_next(
        &mut self,
        peer: usize,
        above: u64,
        around: &mut Around<'_>,
    ) -> Living<Outcome<(u64, Key)>> {
        let made = self.made(peer);
        let generation = match order::next_generation(&self.peer_view(peer, self.clock(around.now)), above, made) {
            Ok(generation) => generation,
            Err(refusal) => return self.refuse(refusal, around),
        };
        let next = (generation, around.keys.fresh(Kind::Generation(generation)));
        self.agent.as_mut().expect("an agent runs").next.insert(peer, next);
        Ok(Ok(next))
    }

    /// Changes to the next generation in place.
    pub(super) fn change_to(
        &mut self,
        peer: usize,
        generation: u64,
        seconds_left: u64,
        around: &mut Around<'_>,
    ) -> Living<Outcome<()>> {
        let (now, made) = (self.clock(around.now), self.made(peer));
        let term = self.term(now, seconds_left);
        let until = order::change(&self.peer_view(peer, now), made, generation, term);
        let next = &mut self.agent.as_mut().expect("an agent runs").next;
        let next = if made == Some(generation) { next.remove(&peer) } else { None };
        let deadline = match until {
            Ok(deadline) => deadline,
            Err(refusal) => return self.refuse(refusal, around),
        };
        let (made, key) = next.expect("it is the one that was made");
        let kept = self.memory().peers.get_mut(&peer).expect("a session runs there");
        let before = kept.clone();
        (kept.held.generation, kept.held.fingerprint) = (made, key.fingerprint);
        kept.held.hold = Hold::Open { deadline };
        if !self.save()? {
            self.memory().peers.insert(peer, before);
            return Ok(Err("the disk is full".to_owned()));
        }
        self.change_in_place(peer, key)?;
        let (place, until) = ((self.number, peer), self.true_time(term.sent.plus_seconds(seconds_left)));
        around.happened.push(Happened::Renewed { place, generation: made, before: before.held.generation, until });
        self.effect()?;
        if let Step::Reported { overtaken, .. } = &mut self.agent.as_mut().expect("an agent runs").step {
            overtaken.insert(peer);
        }
        self.want_round(around.now);
        Ok(Ok(()))
    }

    /// The generation that was made for a session and not changed to yet.
    fn made(&self, peer: usize) -> Option<u64> {
        self.agent.as_ref()?.next.get(&peer).map(|(generation, _)| *generation)
    }

    fn term(&self, now: Boottime, seconds_left: u64) -> Term {
        let agent = self.agent.as_ref().expect("an agent runs");
        Term { sent: sent_at_worst(now, agent.connected, agent.memory.last_contact), seconds_left }
    }

    /// A peer by what this host alone knows.
    fn peer_view(&self, peer: usize, now: Boottime) -> View<'_> {
        let memory = &self.agent.as_ref().expect("an agent runs").memory;
        kept::view(memory.peers.get(&peer), now, self.observed(peer), Contact::Lost(memory.last_contact))
    }

    fn refuse<T>(&mut self, refusal: Refusal, around: &mut Around<'_>) -> Living<Outcome<T>> {
        Ok(Err(match refusal {
            Refusal::Stay(reason) => reason,
            Refusal::Lock(reason) => {
                self.enforce(around)?;
                reason
            }
        }))
    }
}
