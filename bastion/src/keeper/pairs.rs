//! Two servers that rotate together: what each end is told, and what becomes of what it says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use wgmfa_core::connection::{Connection, Other};
use wgmfa_core::message::agent::{Deposit, PeerGeneration, PeerRef};
use wgmfa_core::name::HostName;
use wgmfa_core::policy::{Selection, Sides};
use wgmfa_core::release::Phase;
use wgmfa_core::tandem::{Facts, GivenKey, InUse, PairAssignment, PairEnd, PairStanding, standing};

use super::{Keeper, say};
use crate::admin::site::places;
use crate::store::{Pair, Place, Record, StoreError};

/// The pairs of one host, as it was told of them last: which end it is, and the places of both.
pub type Pairs = BTreeMap<PeerRef, (PairEnd, Pair)>;

/// What an end is told about one peer.
pub struct Told {
    pub assignment: PairAssignment,
    pub pair: Pair,
}

/// The places of both ends, if two servers rotate this connection's key together.
pub fn pair(selection: &Selection<'_>, connection: &Connection) -> Option<Pair> {
    let Selection::Applies { policy, sides: Sides::Both } = selection else { return None };
    let Other::Interface(_) = connection.name.other else { return None };
    let [first, second] = <[Place; 2]>::try_from(places(connection)).ok()?;
    policy.enforce.rotates().then_some(Pair { first, second })
}

impl Keeper {
    /// What the ends of a pair at this host are told; none: the session of another policy is running, or an end is kept
    /// locked. `holds`: what its agent has just said that it holds.
    #[expect(clippy::too_many_arguments, reason = "what the round has read, once for all connections")]
    pub(super) fn tell_pair(
        &self,
        selection: &Selection<'_>,
        connection: &Connection,
        pair: &Pair,
        records: &HashMap<Place, Record>,
        host: &HostName,
        holds: &[PeerGeneration],
        now: Timestamp,
    ) -> Result<Option<Vec<Told>>, StoreError> {
        let Some(policy) = selection.policy() else { return Ok(None) };
        let stays = |record: &Record| record.kept_locked.is_some() || self.has_session(record, now);
        if [&pair.first, &pair.second].into_iter().filter_map(|place| records.get(place)).any(stays) {
            return Ok(None);
        }
        let record = records.get(&pair.first);
        let ends = [(PairEnd::First, &pair.first), (PairEnd::Second, &pair.second)];
        let mut told = Vec::new();
        for (end, place) in ends.into_iter().filter(|(_, place)| place.server_side.host == *host) {
            let (standing, key) = self.pair_standing(connection, pair, end, record, holds, now)?;
            let assignment = PairAssignment {
                peer: place.peer(),
                connection: connection.name.to_string(),
                policy: policy.reference(),
                rotation_interval: policy.rotation_interval.as_seconds(),
                end,
                highest_generation: record.map_or(0, |record| record.highest),
                applied_generation: facts(record).in_use.map_or(0, |one| one.generation),
                standing,
                key,
            };
            told.push(Told { assignment, pair: pair.clone() });
        }
        Ok(Some(told))
    }

    /// Where the newest generation stands, and its key for an end that does not hold it.
    fn pair_standing(
        &self,
        connection: &Connection,
        pair: &Pair,
        end: PairEnd,
        record: Option<&Record>,
        holds: &[PeerGeneration],
        now: Timestamp,
    ) -> Result<(PairStanding, Option<GivenKey>), StoreError> {
        let place = if end == PairEnd::First { &pair.first } else { &pair.second };
        let holds = |generation: u64| holds.contains(&PeerGeneration { peer: place.peer(), generation });
        let mut facts = facts(record);
        if let (PairEnd::Second, Some((generation, staged @ false))) = (end, &mut facts.deposited)
            && holds(*generation)
        {
            *staged = self.store.staged(now, pair, *generation)?;
        }
        let mut standing = standing(&facts, now);
        if end == PairEnd::Second && matches!(standing, PairStanding::Missing { .. } | PairStanding::Staged { .. }) {
            // it may have asked before this end was known here, or before the key was
            self.order_round(&pair.first.server_side.host, "the other end of a pair waits");
        }
        let newest = facts.deposited.map(|(generation, _)| generation).or(facts.in_use.map(|one| one.generation));
        let key = newest.filter(|newest| !holds(*newest)).and_then(|generation| {
            match self.store.key_of_pair(&pair.first, generation) {
                Ok(preshared_key) => Some(GivenKey { generation, preshared_key }),
                Err(error) => {
                    say(&format!("{}: generation {generation}: {error}", connection.name));
                    standing = PairStanding::Missing { reason: "the newest key cannot be unsealed".to_owned() };
                    None
                }
            }
        });
        Ok((standing, key))
    }

    /// A person has a key of this place, and their time runs.
    fn has_session(&self, record: &Record, now: Timestamp) -> bool {
        let now = self.session_time(Some(record), now);
        let until = record.current.as_ref().map(|current| current.phase);
        record.rotation_ordered.is_none() && matches!(until, Some(Phase::Released { deadline }) if deadline > now)
    }

    /// Puts the generations that both ends are going to use on disk, and prompts the second ends.
    pub(super) fn take_pair_deposits(
        &self,
        host: &HostName,
        pairs: &Pairs,
        deposits: &[Deposit],
    ) -> Result<Vec<PeerGeneration>, StoreError> {
        if deposits.is_empty() {
            return Ok(Vec::new());
        }
        let stored = self.store.deposit_of(self.now(), host, deposits, true)?;
        super::crash_point("deposited");
        let others = stored.iter().filter_map(|which| pairs.get(&which.peer));
        self.prompt(others.map(|(_, pair)| &pair.second), "the next key of a pair is there");
        Ok(stored)
    }

    /// Notes what second ends hold, and prompts the first ends.
    pub(super) fn take_staged(
        &self,
        pairs: &Pairs,
        staged: &[PeerGeneration],
    ) -> Result<Vec<PeerGeneration>, StoreError> {
        let mut noted = Vec::new();
        for which in staged {
            match pairs.get(&which.peer) {
                Some((PairEnd::Second, pair)) if self.store.staged(self.now(), pair, which.generation)? => {}
                Some((PairEnd::First, _)) => {}
                _ => continue,
            }
            noted.push(which.clone());
        }
        super::crash_point("staged");
        let others = noted.iter().filter_map(|which| pairs.get(&which.peer));
        let of_second = others.filter(|(end, _)| *end == PairEnd::Second);
        self.prompt(of_second.map(|(_, pair)| &pair.first), "the other end of a pair holds its next key");
        Ok(noted)
    }

    /// Notes what second ends use; what first ends use has been noted as any server side's, and their second ends are
    /// prompted.
    pub(super) fn take_pair_applied(
        &self,
        pairs: &Pairs,
        of_first: &[PeerGeneration],
        of_second: &[PeerGeneration],
    ) -> Result<Vec<PeerGeneration>, StoreError> {
        let mut noted = Vec::new();
        for which in of_second {
            if let Some((_, pair)) = pairs.get(&which.peer)
                && self.store.applied_by_second(self.now(), pair, which.generation)?
            {
                noted.push(which.clone());
            }
        }
        if !noted.is_empty() {
            super::crash_point("applied-by-both");
        }
        let others = of_first.iter().filter_map(|which| pairs.get(&which.peer));
        self.prompt(others.map(|(_, pair)| &pair.second), "the other end of a pair uses its next key");
        Ok(noted)
    }

    fn prompt<'a>(&self, ends: impl Iterator<Item = &'a Place>, reason: &str) {
        let hosts: BTreeSet<&HostName> = ends.map(|end| &end.server_side.host).collect();
        for host in hosts {
            self.order_round(host, reason);
        }
    }
}

fn facts(record: Option<&Record>) -> Facts {
    let Some(record) = record else { return Facts::default() };
    let deposited = record.deposited.as_ref().filter(|one| one.together);
    let in_use = record.current.as_ref().filter(|one| one.together && one.phase == Phase::Applied);
    Facts {
        deposited: deposited.map(|one| (one.generation, one.staged_at.is_some())),
        in_use: in_use.map(|one| InUse {
            generation: one.generation,
            since: one.applied_at.unwrap_or(one.deposited_at),
            on_both: one.other_applied_at.is_some(),
        }),
        rotation_ordered: record.rotation_ordered.clone(),
    }
}
