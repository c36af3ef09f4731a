//! One round: report, lock what must be locked, deposit new generations, apply them, confirm.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use wgmfa_core::boottime::Boottime;
use wgmfa_core::exit::Exit;
use wgmfa_core::message::agent::{Deposit, FromAgent, PeerGeneration, PeerRef};
use wgmfa_core::name::InterfaceName;
use wgmfa_core::rotation::{Action, Assignment, Contact, Held, Hold, Standing, View, plan};
use wgmfa_core::tandem::PairAssignment;
use wgmfa_wireguard::EndpointRule;

use super::pair::Together;
use super::parts::{Confirmations, Deposits};
use super::{Agent, Fresh, Outcome, ROUND_EVERY, Step, Told};
use crate::carry_out::{Changes, random_key, readd};
use crate::clock;
use crate::crash::crash_point;
use crate::files::{self, Renew};
use crate::seen::Seen;
use crate::state::{Alive, Kept, LastRound};

impl Agent {
    /// Begins a round with the report. With `dry_run` the answer is only planned, and nothing is changed.
    pub fn begin_round(&mut self, dry_run: bool) -> FromAgent {
        let now = clock::now();
        let seen = Seen::now(&self.config);
        self.faults = seen.faults.iter().cloned().collect();
        self.faults.extend(self.gate_fault());
        self.outcome = None;
        if !dry_run {
            self.next_round = now.plus_seconds(ROUND_EVERY);
        }
        let events = if dry_run { Vec::new() } else { self.state.events_for_report(now) };
        let interrupted = if dry_run { Vec::new() } else { self.interrupted() };
        let there = seen.interfaces.keys().cloned().collect();
        self.step = Step::Reported { asked: now, dry_run, told: events.len(), overtaken: BTreeSet::new(), there };
        self.report(&seen, events, interrupted, now)
    }

    /// The answer to the report.
    pub(super) fn assigned(
        &mut self,
        mut assignments: Vec<Assignment>,
        restored: Vec<Deposit>,
        uncovered: Vec<PeerRef>,
        pairs: &[PairAssignment],
        mut told_of_gate: Told,
    ) -> Vec<FromAgent> {
        let Step::Reported { asked, dry_run, told, overtaken, there } = std::mem::replace(&mut self.step, Step::Idle)
        else {
            return Vec::new();
        };
        crash_point("reported");
        // what is away stays gated, so that it does not come back without a gate
        let is_ours = |name: &&InterfaceName| self.config.interfaces.as_ref().is_none_or(|names| names.contains(*name));
        told_of_gate.gated.extend(self.state.gated.difference(&there).filter(is_ours).cloned());
        let now = clock::now();
        for assignment in &mut assignments {
            // The answer was written after the question was asked: what the way took is not added to a session.
            if let Standing::Released { seconds_left, .. } = &mut assignment.standing {
                let way = now.since(asked).as_millis().div_ceil(1000);
                *seconds_left = seconds_left.saturating_sub(u64::try_from(way).unwrap_or(u64::MAX));
            }
        }
        let mut seen = Seen::now(&self.config);
        if !restored.is_empty() && !dry_run {
            self.take_restored(restored, &assignments, &seen);
            seen = Seen::now(&self.config);
        }
        // of these the next round decides, unless nobody may come in there
        let stays = |one: &Assignment| matches!(one.standing, Standing::KeepLocked { .. });
        assignments.retain(|one| !overtaken.contains(&one.peer) || stays(one));
        let mut planned = self.plan_all(&assignments, &overtaken, &seen, now);
        planned.retain(|(peer, _)| !pairs.iter().any(|one| one.peer == *peer));
        if dry_run {
            let mut planned: Vec<_> = planned.iter().filter_map(|(peer, action)| self.in_words(peer, action)).collect();
            planned.extend(self.pairs_in_words(pairs, &seen));
            planned.extend(self.gates_in_words(&told_of_gate, asked));
            self.outcome = Some(Outcome { planned, ..Outcome::of(&std::mem::take(&mut self.faults)) });
            return Vec::new();
        }
        self.reached(asked);
        self.state.reported(told, asked);
        self.state.uncovered = uncovered;
        let new = assignments.iter().map(|one| (&one.peer, one.highest_generation == 0));
        self.remember_configured(new.chain(pairs.iter().map(|one| (&one.peer, one.is_untouched()))), &seen);
        assignments.iter().for_each(|one| _ = self.leave_pair(&one.peer));
        let together = self.follow_pairs(pairs, &seen);
        self.forget_policies(&assignments, &overtaken);
        self.learn(&assignments);
        // before the round can be over: what cannot be done is a fault of it
        self.follow_gates(told_of_gate, &overtaken, asked, &seen);
        let answers = self.follow(planned, &assignments, together, &seen);
        self.keep_gate(&seen); // sessions that it has taken over open tiers too
        answers
    }

    /// What to do about each peer that the bastion names or that was ever covered here.
    fn plan_all(
        &mut self,
        assignments: &[Assignment],
        overtaken: &BTreeSet<PeerRef>,
        seen: &Seen,
        now: Boottime,
    ) -> Vec<(PeerRef, Action)> {
        let named: BTreeMap<&PeerRef, &Assignment> = assignments.iter().map(|one| (&one.peer, one)).collect();
        let mut planned = Vec::new();
        for (peer, assignment) in &named {
            if seen.peer(peer).is_none() {
                let fault = match seen.public_key(&peer.interface) {
                    // of a device that was removed, and then taken out here: nobody comes in by what is not there
                    Some(_) if matches!(assignment.standing, Standing::KeepLocked { .. }) => continue,
                    None => format!("{}: interface {} is gone", assignment.connection, peer.interface),
                    Some(_) => format!("{}: not a peer of interface {}", assignment.connection, peer.interface),
                };
                self.faults.insert(fault);
                continue;
            }
            let (observed, contact) = (seen.fingerprint(peer), Contact::Assigned(assignment));
            let view = match self.state.peers.get(peer) {
                Some(kept) => kept.view(now, observed, contact),
                None => View { now, same_boot: true, observed, held: None, idle: None, contact },
            };
            planned.extend(plan(&view).into_iter().map(|action| ((*peer).clone(), action)));
        }
        for (peer, kept) in &self.state.peers {
            if !named.contains_key(peer) && !overtaken.contains(peer) && seen.peer(peer).is_some() {
                let actions = plan(&kept.view(now, seen.fingerprint(peer), Contact::Unassigned));
                planned.extend(actions.into_iter().map(|action| (peer.clone(), action)));
            }
        }
        planned
    }

    /// Carries out the plan as far as it goes without the bastion, and deposits what is to be rotated.
    fn follow(
        &mut self,
        planned: Vec<(PeerRef, Action)>,
        assignments: &[Assignment],
        mut together: Together,
        seen: &Seen,
    ) -> Vec<FromAgent> {
        let intervals: BTreeMap<_, _> = assignments.iter().map(|one| (&one.peer, one.rotation_interval)).collect();
        let (mut locks, mut fresh, mut adopted) = (Vec::new(), Vec::new(), Vec::new());
        for (peer, action) in planned {
            match action {
                Action::Lock { reason } => locks.push((peer, reason)),
                Action::Rotate { generation, reason } => {
                    let rotation_interval = intervals.get(&peer).copied().unwrap_or_default();
                    fresh.push(Fresh { peer, generation, rotation_interval, key: random_key(), reason });
                }
                Action::Adopt { deadline, reason } => adopted.push((peer, deadline, reason)),
                Action::Wait { until, .. } => {
                    self.next_round = until.map_or(self.next_round, |until| until.min(self.next_round));
                }
            }
        }
        for (peer, deadline, reason) in adopted {
            let Some(kept) = self.state.peers.get_mut(&peer) else { continue };
            kept.held.hold = Hold::Open { deadline };
            // a login is a sign of life too
            let handshake = seen.peer(&peer).and_then(|peer| peer.latest_handshake);
            kept.alive = Some(Alive { since: clock::now(), handshake });
            self.unproved.insert(peer.clone(), seen.peer(&peer).and_then(|peer| peer.latest_handshake));
            self.changed("open", &[(peer, reason)]);
        }
        if locks.is_empty() {
            self.save_or_fault();
        } else {
            let cut: HashSet<_> = locks.iter().map(|(peer, _)| peer.clone()).collect();
            let not_done = self.lock(locks, seen);
            // that a session was interrupted here, the bastion was not told when it answered: it may hand the key back
            fresh.retain(|fresh| !(cut.contains(&fresh.peer) && self.is_interrupted(&fresh.peer)));
            let followed: HashSet<&PeerRef> = fresh.iter().map(|fresh| &fresh.peer).collect();
            if cut.iter().any(|peer| !followed.contains(peer) && !not_done.contains_key(peer)) {
                self.want_round(); // no generation follows that would be confirmed: a report alone shows the lock
            }
            self.learn(assignments);
        }
        let faults = files::keep_lock_keys(&self.config, &mut self.state, Renew::Changed);
        self.faults.extend(faults);
        self.faults.extend(files::keep_pair_keys(&self.config, &self.pairs));
        let deposit = |fresh: &Fresh| Deposit { which: fresh.which(), preshared_key: fresh.key.clone() };
        let mut deposits = std::mem::take(&mut together.deposits);
        deposits.extend(fresh.iter().map(deposit));
        if deposits.is_empty() {
            return self.confirm(Vec::new(), together);
        }
        self.deposit(Deposits::new(deposits), fresh, together)
    }

    /// Deposits the next part, or applies them when all are on disk.
    fn deposit(&mut self, mut deposits: Deposits, fresh: Vec<Fresh>, together: Together) -> Vec<FromAgent> {
        let Some(part) = deposits.next() else { return self.apply(&deposits, fresh, together) };
        self.step = Step::Deposited { asked: clock::now(), deposits, fresh, together };
        vec![part]
    }

    /// These deposits are on disk.
    pub(super) fn stored(&mut self, stored: &[PeerGeneration]) -> Vec<FromAgent> {
        let Step::Deposited { asked, mut deposits, fresh, together } = std::mem::replace(&mut self.step, Step::Idle)
        else {
            return Vec::new();
        };
        crash_point("deposited");
        self.reached_after_report(asked);
        deposits.answered(stored);
        self.deposit(deposits, fresh, together)
    }

    /// The deposits are on disk: now, and not before, the interfaces may use them.
    fn apply(&mut self, deposits: &Deposits, fresh: Vec<Fresh>, together: Together) -> Vec<FromAgent> {
        let now = clock::now();
        let seen = Seen::now(&self.config);
        for made in together.made.iter().filter(|made| !deposits.has(made)) {
            let name = self.name_of(&made.peer);
            self.faults.insert(format!("{name}: the bastion did not take generation {}", made.generation));
        }
        let (mut changes, mut applied, mut told) = (Changes::new(), Vec::new(), Vec::new());
        let before = self.state.peers.clone();
        for one in fresh {
            let which = one.which();
            let hold = self.state.peers.get(&one.peer).map(|kept| &kept.held.hold);
            if matches!(hold, Some(Hold::Open { .. } | Hold::Override { .. })) {
                // Opened while the deposit was on its way: the session goes first, the next generation has a higher number.
                self.want_round();
                continue;
            }
            if !deposits.has(&which) {
                self.faults.insert(format!(
                    "{}: the bastion did not take generation {}",
                    self.state.name_of(&one.peer),
                    one.generation
                ));
                continue;
            }
            let Some(own) = seen.public_key(&one.peer.interface).filter(|_| seen.peer(&one.peer).is_some()) else {
                self.faults.insert(format!("{}: gone before its new key came", self.state.name_of(&one.peer)));
                continue;
            };
            let held = Held {
                generation: one.generation,
                fingerprint: one.key.fingerprint(&own, &one.peer.public_key),
                hold: Hold::Waiting { since: now },
                rotation_interval: one.rotation_interval,
            };
            let kept = self.state.peers.entry(one.peer.clone());
            let kept = kept.or_insert_with(|| Kept::new(held.clone()));
            (kept.held, kept.same_boot, kept.before) = (held, true, seen.fingerprint(&one.peer));
            kept.handshake_before = None;
            changes.entry(one.peer.interface.clone()).or_default().push((one.peer.public_key, one.key));
            told.push((one.peer, format!("generation {}: {}", one.generation, one.reason)));
            applied.push(which);
        }
        if let Err(failure) = self.save() {
            self.state.peers = before;
            self.faults.insert(failure.error);
            self.finish();
            return Vec::new();
        }
        crash_point("saved");
        let not_done = readd(&changes, EndpointRule::Drop);
        crash_point("applied");
        self.faults.extend(not_done.values().cloned());
        applied.retain(|which| !not_done.contains_key(&which.peer));
        told.retain(|(peer, _)| !not_done.contains_key(peer));
        self.made(&told);
        self.changed("rotated", &told);
        self.confirm(applied, together)
    }

    /// Tells the bastion what the interfaces accept and what this end of a pair holds; the round is over when there is
    /// nothing to tell.
    fn confirm(&mut self, mut applied: Vec<PeerGeneration>, together: Together) -> Vec<FromAgent> {
        applied.extend(together.applied);
        self.confirm_next(Confirmations::new(applied, together.staged))
    }

    fn confirm_next(&mut self, mut confirmations: Confirmations) -> Vec<FromAgent> {
        if let Some(part) = confirmations.next() {
            self.step = Step::Confirmed { asked: clock::now(), confirmations };
            return vec![part];
        }
        for which in confirmations.unanswered() {
            let name = self.name_of(&which.peer);
            self.faults.insert(format!("{name}: the bastion did not note generation {}", which.generation));
        }
        self.finish();
        Vec::new()
    }

    /// These confirmations are on disk.
    pub(super) fn noted(&mut self, noted: &[PeerGeneration], staged_noted: &[PeerGeneration]) -> Vec<FromAgent> {
        let Step::Confirmed { asked, mut confirmations } = std::mem::replace(&mut self.step, Step::Idle) else {
            return Vec::new();
        };
        crash_point("noted");
        self.reached_after_report(asked);
        self.pairs_noted(noted);
        confirmations.answered(noted.iter().chain(staged_noted));
        self.confirm_next(confirmations)
    }

    /// An answer that says nothing of releases. Only a resident agent would have been told of one since its report.
    fn reached_after_report(&mut self, asked: Boottime) {
        if self.resident {
            self.reached(asked);
        }
    }

    /// The round is over.
    fn finish(&mut self) {
        let outcome = Outcome::of(&std::mem::take(&mut self.faults));
        let (exit, faults) = (outcome.exit.code(), outcome.faults.clone());
        self.state.last_round = Some(LastRound { at: clock::now(), exit, faults });
        self.outcome = Some(outcome);
        self.save_or_fault();
    }

    /// What an action is called in a dry run.
    fn in_words(&self, peer: &PeerRef, action: &Action) -> Option<String> {
        let (what, reason) = match action {
            Action::Lock { reason } => ("lock".to_owned(), reason),
            Action::Rotate { generation, reason } => (format!("rotate to generation {generation}"), reason),
            Action::Adopt { reason, .. } => ("open".to_owned(), reason),
            Action::Wait { .. } => return None,
        };
        Some(format!("{}: would {what}: {reason}", self.state.name_of(peer)))
    }

    pub(super) fn save_or_fault(&mut self) {
        if let Err(failure) = self.save() {
            self.faults.insert(failure.error);
        }
    }
}

impl Outcome {
    fn of(faults: &BTreeSet<String>) -> Self {
        let exit = if faults.is_empty() { Exit::Done } else { Exit::Partly };
        Self { exit, faults: faults.iter().cloned().collect(), planned: Vec::new() }
    }
}

impl Fresh {
    fn which(&self) -> PeerGeneration {
        PeerGeneration { peer: self.peer.clone(), generation: self.generation }
    }
}
