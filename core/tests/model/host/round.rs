//! The agent's round (`agent/src/agent/round.rs`): report, lock, deposit, apply, confirm.

use std::collections::BTreeSet;

use wgmfa_core::boottime::Boottime;
use wgmfa_core::rotation::{Action, Assignment, Contact, Held, Hold, Standing};

use super::kept::Alive;
use super::{Around, Fresh, Host, Kept, Living, Step};
use crate::key::Kind;
use crate::ledger::Happened;
use crate::network::Up;

impl Host {
    /// Only a resident agent would have been told of a release since its report.
    pub(super) fn reached_after_report(&mut self, asked: Boottime, around: &mut Around<'_>) {
        if self.resident {
            self.reached(asked, around);
        }
    }

    pub(super) fn finish(&mut self, around: &mut Around<'_>) -> Living<()> {
        let agent = self.agent.as_mut().expect("an agent runs");
        agent.finished = true;
        let intervals = agent.intervals.clone();
        if self.save()? {
            around.happened.push(Happened::Learned { host: self.number, intervals });
            self.remembers_contact(around);
        }
        Ok(())
    }

    pub(super) fn assigned(
        &mut self,
        mut assignments: Vec<(usize, Assignment)>,
        around: &mut Around<'_>,
    ) -> Living<Option<Up>> {
        let agent = self.agent.as_mut().expect("an agent runs");
        let Step::Reported { asked, told, overtaken } = std::mem::replace(&mut agent.step, Step::Idle) else {
            return Ok(None);
        };
        let now = self.clock(around.now);
        // of these the next round decides, unless nobody may come in there
        let stays = |one: &Assignment| matches!(one.standing, Standing::KeepLocked { .. });
        assignments.retain(|(peer, one)| !overtaken.contains(peer) || stays(one));
        let mut planned = Vec::new();
        for (peer, assignment) in &mut assignments {
            if let Standing::Released { seconds_left, .. } = &mut assignment.standing {
                let way = u64::try_from(now.since(asked).as_millis().div_ceil(1000)).unwrap();
                *seconds_left = seconds_left.saturating_sub(way);
            }
            let actions = self.plans(Contact::Assigned(assignment), *peer, around.now);
            planned.extend(actions.into_iter().map(|action| (*peer, action)));
        }
        let named: BTreeSet<_> = assignments.iter().map(|(peer, _)| *peer).collect();
        let unnamed: Vec<_> = self.memory().peers.keys().copied().filter(|peer| !named.contains(peer)).collect();
        for peer in unnamed {
            let actions = self.plans(Contact::Unassigned, peer, around.now);
            planned.extend(actions.into_iter().map(|action| (peer, action)));
        }
        let known = assignments.iter().filter(|(_, assignment)| assignment.policy.is_some());
        let intervals = known.map(|(peer, assignment)| (*peer, assignment.rotation_interval)).collect();
        around.happened.push(Happened::Told { host: self.number });
        self.agent.as_mut().expect("an agent runs").intervals = intervals;
        self.reached(asked, around);
        self.memory().idled.drain(..told);
        self.learn(&assignments);
        self.follow(planned, &assignments, around)
    }

    fn learn(&mut self, assignments: &[(usize, Assignment)]) {
        for (peer, assignment) in assignments {
            let Some(kept) = self.memory().peers.get_mut(peer) else { continue };
            if assignment.policy.is_some() && matches!(kept.held.hold, Hold::Waiting { .. }) {
                kept.held.rotation_interval = assignment.rotation_interval;
            }
            // a session goes on as it began
            if !matches!(kept.held.hold, Hold::Open { .. }) {
                kept.idle_timeout = assignment.idle_timeout;
            }
        }
    }

    fn follow(
        &mut self,
        planned: Vec<(usize, Action)>,
        assignments: &[(usize, Assignment)],
        around: &mut Around<'_>,
    ) -> Living<Option<Up>> {
        let (mut locks, mut fresh) = (Vec::new(), Vec::new());
        for (peer, action) in planned {
            match action {
                Action::Lock { reason } => locks.push((peer, reason)),
                Action::Rotate { generation, .. } => {
                    let assigned = assignments.iter().find(|(named, _)| *named == peer);
                    let rotation_interval = assigned.map_or(0, |(_, assignment)| assignment.rotation_interval);
                    let key = around.keys.fresh(Kind::Generation(generation));
                    fresh.push(Fresh { peer, generation, rotation_interval, key });
                }
                Action::Adopt { deadline, .. } => {
                    let (handshake, now) = (self.handshakes[peer], self.clock(around.now));
                    if let Some(kept) = self.memory().peers.get_mut(&peer) {
                        kept.held.hold = Hold::Open { deadline };
                        kept.alive = Some(Alive { since: now, handshake });
                    }
                }
                Action::Wait { until, .. } => {
                    let agent = self.agent.as_mut().expect("an agent runs");
                    agent.next_round = until.map_or(agent.next_round, |until| until.min(agent.next_round));
                }
            }
        }
        if locks.is_empty() {
            self.save()?;
        } else {
            self.lock(locks, around)?;
            self.learn(assignments);
        }
        if fresh.is_empty() {
            self.finish(around)?;
            return Ok(None);
        }
        let deposits = fresh.iter().map(|one| (one.peer, one.generation, one.key)).collect();
        let asked = self.clock(around.now);
        self.agent.as_mut().expect("an agent runs").step = Step::Deposited { asked, fresh };
        Ok(Some(Up::Deposit(deposits)))
    }

    pub(super) fn stored(&mut self, deposits: &[(usize, u64)], around: &mut Around<'_>) -> Living<Option<Up>> {
        let agent = self.agent.as_mut().expect("an agent runs");
        if !matches!(agent.step, Step::Deposited { .. }) {
            return Ok(None);
        }
        let Step::Deposited { asked, fresh } = std::mem::replace(&mut agent.step, Step::Idle) else { return Ok(None) };
        self.reached_after_report(asked, around);
        let now = self.clock(around.now);
        let before = self.memory().peers.clone();
        let mut changes = Vec::new();
        for one in fresh {
            let hold = self.memory().peers.get(&one.peer).map(|kept| &kept.held.hold);
            if matches!(hold, Some(Hold::Open { .. } | Hold::Override { .. }))
                || !deposits.contains(&(one.peer, one.generation))
            {
                continue;
            }
            let held = Held {
                generation: one.generation,
                fingerprint: one.key.fingerprint,
                hold: Hold::Waiting { since: now },
                rotation_interval: one.rotation_interval,
            };
            let kept = self.memory().peers.entry(one.peer).or_insert_with(|| Kept::new(held.clone()));
            (kept.held, kept.same_boot) = (held, true);
            changes.push(one);
        }
        if !self.save()? {
            self.memory().peers = before;
            self.finish(around)?;
            return Ok(None);
        }
        for Fresh { peer, generation, key, rotation_interval } in &changes {
            self.put(*peer, *key)?;
            let (place, interval, at) = ((self.number, *peer), *rotation_interval, around.now);
            around.happened.push(Happened::Applied { place, generation: *generation, interval, at });
        }
        self.effect()?;
        if changes.is_empty() {
            self.finish(around)?;
            return Ok(None);
        }
        let asked = self.clock(around.now);
        self.agent.as_mut().expect("an agent runs").step = Step::Confirmed { asked };
        Ok(Some(Up::Applied(changes.into_iter().map(|one| (one.peer, one.generation)).collect())))
    }
}
