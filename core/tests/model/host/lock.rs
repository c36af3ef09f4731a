//! Locking, and root's way in (`agent/src/agent/lock.rs`, `agent/src/agent/by_root.rs`).

use wgmfa_core::rotation::{Contact, Held, Hold};

use super::kept::{self, Kept};
use super::{Around, Host, Living};
use crate::key::Kind;
use crate::ledger::Happened;

impl Host {
    /// A lock key on each of these peers.
    pub(super) fn lock(&mut self, due: Vec<(usize, String)>, around: &mut Around<'_>) -> Living<()> {
        let (mut changes, now) = (Vec::new(), self.clock(around.now));
        for (peer, reason) in due {
            let (key, observed) = (around.keys.fresh(Kind::Lock), self.observed(peer));
            let hold = Hold::Locked { reason: reason.clone() };
            let contact = Contact::Lost(self.memory().last_contact);
            let memory = self.memory();
            if let Some(kept) = memory.peers.get(&peer).filter(|kept| kept.same_boot)
                && kept::view(Some(kept), now, observed, contact).idled().as_deref() == Some(&reason)
            {
                memory.idled.push((peer, kept.held.generation));
            }
            let held = Held { generation: 0, fingerprint: key.fingerprint, hold: hold.clone(), rotation_interval: 0 };
            let kept = memory.peers.entry(peer).or_insert_with(|| Kept::new(held));
            (kept.held.hold, kept.held.fingerprint, kept.same_boot) = (hold, key.fingerprint, true);
            changes.push((peer, key, reason));
        }
        let remembered = self.save()?; // a full disk keeps nobody in
        for (peer, key, reason) in changes {
            self.put(peer, key)?;
            around.happened.push(Happened::Locked { place: (self.number, peer), remembered, reason });
        }
        self.effect()
    }

    /// Root's way in without the bastion. False: nothing was opened.
    pub fn open_by_root(&mut self, peer: usize, seconds: u64, around: &mut Around<'_>) -> Living<bool> {
        let deadline = self.clock(around.now).plus_seconds(seconds);
        let before = self.memory().peers.clone();
        let Some(kept) = self.memory().peers.get_mut(&peer) else { return Ok(false) };
        let key = around.keys.fresh(Kind::Foreign);
        kept.held.hold = Hold::Override { deadline };
        (kept.held.fingerprint, kept.same_boot) = (key.fingerprint, true);
        if !self.save()? {
            self.memory().peers = before;
            return Ok(false);
        }
        self.put(peer, key)?;
        self.want_round(around.now);
        Ok(true)
    }
}
