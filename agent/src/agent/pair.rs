//! Peers whose key both ends change together, in place. What is to be done is decided by [`wgmfa_core::tandem::plan`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wgmfa_core::boottime::Boottime;
use wgmfa_core::message::agent::{Deposit, PeerGeneration, PeerRef};
use wgmfa_core::tandem::{Action, Handshake, Held, PairAssignment, View, plan};
use wgmfa_wireguard::is_same_handshake;

use super::{Agent, MOST_LINES};
use crate::carry_out::{NotDone, random_key, set_in_place};
use crate::clock;
use crate::crash::crash_point;
use crate::files;
use crate::pairs::{Exposed, Key, Pair};
use crate::seen::Seen;

/// What a round has to say to the bastion about pairs.
#[derive(Debug, Default)]
pub(super) struct Together {
    /// New generations.
    pub(super) deposits: Vec<Deposit>,
    /// The same, once they are on their way.
    pub(super) made: Vec<PeerGeneration>,
    /// What this end uses.
    pub(super) applied: Vec<PeerGeneration>,
    /// What this end holds.
    pub(super) staged: Vec<PeerGeneration>,
}

/// What is to be done about each peer.
type Plans = Vec<(PeerRef, Vec<Action>)>;

/// A generation to be put on a peer.
struct Put {
    peer: PeerRef,
    generation: u64,
    reason: String,
    /// Another hand had changed the interface.
    back: bool,
    /// The other end may use another one.
    attempt: bool,
}

impl Agent {
    /// Puts back what another hand has changed, and tries the other key where no handshake comes. Needs nobody.
    pub(super) fn enforce_pairs(&mut self, seen: &Seen) {
        let here = self.pairs.iter().filter(|(peer, _)| seen.peer(peer).is_some());
        let plans = here.map(|(peer, pair)| (peer.clone(), act(pair, peer, seen, None)));
        let plans: Plans = plans.filter(|(_, actions)| actions.iter().any(changes_something)).collect();
        if !plans.is_empty() {
            let _nothing = self.follow_plans(plans, &[], seen);
            self.want_round();
        }
    }

    /// What would be done, in words.
    pub(super) fn pairs_in_words(&self, said: &[PairAssignment], seen: &Seen) -> Vec<String> {
        let mut words = Vec::new();
        for one in said.iter().filter(|one| seen.peer(&one.peer).is_some()) {
            let pair = self.pairs.get(&one.peer).cloned().unwrap_or_else(|| self.new_pair(one, seen));
            for action in act(&pair, &one.peer, seen, Some(one)) {
                let what = match action {
                    Action::Stage { generation, .. } => format!("hold generation {generation}"),
                    Action::Make { generation, reason } => format!("rotate to generation {generation}: {reason}"),
                    Action::Put { generation, reason } | Action::Try { generation, reason } => {
                        format!("change to generation {generation} in place: {reason}")
                    }
                    Action::Confirm { .. } | Action::Forget { .. } | Action::Wait { .. } => continue,
                };
                words.push(format!("{}: would {what}", one.connection));
            }
        }
        words
    }

    /// Takes over what the bastion says, and does it as far as it goes without another word of the bastion's.
    pub(super) fn follow_pairs(&mut self, said: &[PairAssignment], seen: &Seen) -> Together {
        let named: BTreeSet<&PeerRef> = said.iter().map(|one| &one.peer).collect();
        for (_, pair) in self.pairs.iter_mut().filter(|(peer, _)| !named.contains(peer)) {
            pair.policy = None;
        }
        let mut plans = Plans::new();
        for one in said {
            if seen.peer(&one.peer).is_none() {
                self.faults.insert(match seen.public_key(&one.peer.interface) {
                    None => format!("{}: interface {} is gone", one.connection, one.peer.interface),
                    Some(_) => format!("{}: not a peer of interface {}", one.connection, one.peer.interface),
                });
                continue;
            }
            let mut pair = self.pairs.remove(&one.peer).unwrap_or_else(|| self.new_pair(one, seen));
            (pair.connection, pair.policy, pair.end) = (one.connection.clone(), Some(one.policy.clone()), one.end);
            plans.push((one.peer.clone(), act(&pair, &one.peer, seen, Some(one))));
            self.pairs.insert(one.peer.clone(), pair);
            if self.state.peers.remove(&one.peer).is_some() {
                self.unproved.remove(&one.peer);
            }
        }
        self.follow_plans(plans, said, seen)
    }

    /// The bastion has noted what this end of a pair uses: it needs no other key until it hears of one.
    pub(super) fn pairs_noted(&mut self, noted: &[PeerGeneration]) {
        let mut changed = false;
        for which in noted {
            if let Some(pair) = self.pairs.get_mut(&which.peer).filter(|pair| pair.used == Some(which.generation)) {
                changed |= pair.keys.len() > 1;
                pair.keys.retain(|key| key.generation == which.generation);
            }
        }
        if changed && let Err(failure) = self.store.save_pairs(&self.pairs) {
            self.faults.insert(failure.error);
        }
    }

    /// This peer is none of a pair any more; gives its name.
    pub(super) fn leave_pair(&mut self, peer: &PeerRef) -> Option<String> {
        let pair = self.pairs.remove(peer)?;
        if let Err(failure) = self.store.save_pairs(&self.pairs) {
            self.faults.insert(failure.error);
        }
        Some(pair.connection)
    }

    /// A peer of which nothing is known yet. What stands there is remembered as generation 0 if it can only be a
    /// configured key: a generation of another policy is never written down.
    fn new_pair(&self, one: &PairAssignment, seen: &Seen) -> Pair {
        let configured = one.is_untouched() && !self.state.peers.contains_key(&one.peer);
        let key = || Key {
            generation: 0,
            fingerprint: seen.fingerprint(&one.peer),
            preshared_key: seen.peer(&one.peer).and_then(|peer| peer.preshared_key.clone()).map(Exposed),
        };
        Pair {
            connection: one.connection.clone(),
            policy: Some(one.policy.clone()),
            end: one.end,
            keys: configured.then(key).into_iter().collect(),
            used: configured.then_some(0),
            since: clock::now(),
            handshake: handshake_time(&one.peer, seen),
            rebooted: false,
        }
    }

    /// Remembers what the plans say, then does it: in this order, so that no key is on an interface alone.
    fn follow_plans(&mut self, plans: Plans, said: &[PairAssignment], seen: &Seen) -> Together {
        let now = clock::now();
        let before = self.pairs.clone();
        let mut together = Together::default();
        let mut puts = Vec::new();
        for (peer, actions) in plans {
            let given = said.iter().find(|one| one.peer == peer).and_then(|one| one.key.as_ref());
            for action in actions {
                let Some(pair) = self.pairs.get_mut(&peer) else { continue };
                let fingerprint = |key: &wgmfa_core::key::PresharedKey| {
                    seen.public_key(&peer.interface).map(|own| key.fingerprint(&own, &peer.public_key))
                };
                let add = |pair: &mut Pair, generation, beside, key: &wgmfa_core::key::PresharedKey| {
                    pair.keys.retain(|key| Some(key.generation) == beside);
                    let (fingerprint, preshared_key) = (fingerprint(key), Some(Exposed(key.clone())));
                    pair.keys.push(Key { generation, fingerprint, preshared_key });
                };
                let which = |generation| PeerGeneration { peer: peer.clone(), generation };
                match action {
                    Action::Stage { generation, beside } => {
                        let Some(given) = given.filter(|given| given.generation == generation) else { continue };
                        add(pair, generation, beside, &given.preshared_key);
                        together.staged.push(which(generation));
                    }
                    Action::Make { generation, .. } => {
                        let preshared_key = random_key();
                        add(pair, generation, pair.used, &preshared_key);
                        together.made.push(which(generation));
                        together.deposits.push(Deposit { which: which(generation), preshared_key });
                    }
                    Action::Put { generation, ref reason } | Action::Try { generation, ref reason } => {
                        let back = pair.used == Some(generation);
                        let attempt = matches!(action, Action::Try { .. });
                        let known = pair.keys.iter().any(|key| key.fingerprint == seen.fingerprint(&peer));
                        (pair.used, pair.since) = (Some(generation), now);
                        pair.handshake = handshake_time(&peer, seen);
                        let back = back && !known && !std::mem::take(&mut pair.rebooted);
                        let (peer, reason) = (peer.clone(), reason.clone());
                        puts.push(Put { peer, generation, reason, back, attempt });
                    }
                    Action::Confirm { generation } => together.applied.push(which(generation)),
                    Action::Forget { but } => pair.keys.retain(|key| key.generation == but),
                    Action::Wait { until, .. } => {
                        self.next_round = until.map_or(self.next_round, |until| until.min(self.next_round));
                    }
                }
            }
        }
        if let Err(failure) = self.store.save_pairs(&self.pairs) {
            self.faults.insert(failure.error);
            self.pairs = before;
            // what is on disk already may be put back
            puts.retain(|put| self.pairs.get(&put.peer).is_some_and(|pair| pair.used == Some(put.generation)));
            together = Together::default();
        }
        if !together.deposits.is_empty() {
            crash_point("pair-made");
        }
        if !together.staged.is_empty() {
            crash_point("pair-staged");
        }
        if !puts.is_empty() {
            let said: BTreeSet<_> = together.applied.iter().map(|which| which.peer.clone()).collect();
            let put_back = puts.iter().any(|put| !said.contains(&put.peer));
            let not_done = self.put(puts, seen);
            together.applied.retain(|which| !not_done.contains_key(&which.peer));
            if put_back {
                self.want_round(); // the bastion knows that generation already: a report alone shows where it stands
            }
        }
        together
    }

    /// Changes keys in place.
    fn put(&mut self, puts: Vec<Put>, seen: &Seen) -> NotDone {
        crash_point("pair-saved");
        let mut changes = BTreeMap::<_, Vec<_>>::new();
        for put in &puts {
            let key = self.pairs.get(&put.peer).and_then(|pair| pair.key(put.generation));
            let key = key.and_then(|key| key.preshared_key.as_ref()).map(|key| key.0.clone());
            changes.entry(put.peer.interface.clone()).or_default().push((put.peer.public_key, key));
        }
        let not_done = set_in_place(&changes);
        crash_point("pair-applied");
        self.faults.extend(not_done.values().cloned());
        let done: Vec<_> = puts.into_iter().filter(|put| !not_done.contains_key(&put.peer)).collect();
        for put in done.iter().filter(|put| put.back) {
            self.note_foreign_pair_key(&put.peer, seen);
        }
        let mut news = Vec::new();
        for put in done {
            // that the two keys are tried in turn is news once
            let again = if put.attempt { !self.trying.insert(put.peer.clone()) } else { self.trying.remove(&put.peer) };
            if let Some(pair) = self.pairs.get(&put.peer).filter(|_| !(put.attempt && again)) {
                news.push(format!("{}: generation {} in place: {}", pair.connection, put.generation, put.reason));
            }
        }
        if news.len() > MOST_LINES {
            news = vec![format!("{} peers changed in place", news.len())];
        }
        self.changes.extend(news);
        not_done
    }

    /// A key that neither this agent nor the interface's own file has put there is news for the bastion's audit log.
    fn note_foreign_pair_key(&mut self, peer: &PeerRef, seen: &Seen) {
        let key = seen.peer(peer).and_then(|peer| peer.preshared_key.clone());
        let from_file = files::configured(&self.config, std::iter::once(peer)).remove(peer);
        if from_file.is_none_or(|from_file| from_file != key) {
            let reason =
                if key.is_some() { "another preshared key was set" } else { "the preshared key was taken out" };
            self.state.happened("changed-outside", Some(peer.clone()), reason, clock::now());
        }
    }
}

/// What the plan says about a peer that stands on its interface.
fn act(pair: &Pair, peer: &PeerRef, seen: &Seen, said: Option<&PairAssignment>) -> Vec<Action> {
    let (held, now) = (pair.held(), clock::now());
    view(&held, pair, peer, seen, said, now).map_or(Vec::new(), |view| plan(&view))
}

fn view<'a>(
    held: &'a Held,
    pair: &Pair,
    peer: &PeerRef,
    seen: &Seen,
    said: Option<&'a PairAssignment>,
    now: Boottime,
) -> Option<View<'a>> {
    // WireGuard tells the time of day of a handshake; a clock that was set back makes it look like now.
    let age = |at: SystemTime| SystemTime::now().duration_since(at).unwrap_or_default().as_secs();
    let before = pair.handshake.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    let is_known = |at| handshake_time(peer, seen) == pair.handshake || is_same_handshake(before, Some(at));
    let latest = seen.peer(peer)?.latest_handshake;
    let handshake = latest.map(|at| Handshake { age_seconds: age(at), changed: !is_known(at) });
    let observed = seen.fingerprint(peer);
    Some(View { now, held, observed, handshake, said, patience: clock::patience() })
}

fn handshake_time(peer: &PeerRef, seen: &Seen) -> Option<u64> {
    let at = seen.peer(peer)?.latest_handshake?;
    Some(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn changes_something(action: &Action) -> bool {
    matches!(action, Action::Put { .. } | Action::Try { .. } | Action::Forget { .. })
}
