//! The bastion's audit log, as far as this host can bear witness to it: the newest line that it was told of is kept, so
//! that a log whose end was cut off, or a restored bastion, shows here.

use wgmfa_core::message::agent::{LogHead, PeerGeneration};

use wgmfa_core::tandem::PairEnd;

use super::Agent;
use crate::pairs::Pair;

impl Agent {
    /// Keeps the head that the bastion tells. One that is older than the last one, or another line with its number, is
    /// named to people. The bastion has found out by the report that this is the answer to.
    pub(super) fn hear_head(&mut self, head: Option<LogHead>) {
        let Some(head) = head.filter(LogHead::is_well_formed) else { return };
        if let Some(known) = self.state.log_head.take_if(|known| known.seq >= head.seq && *known != head) {
            self.changes.push(format!(
                "the bastion's audit log ends at line {}, but this host was told of line {} ({}): its end was cut off, or it \
                 was restored from a backup",
                head.seq, known.seq, known.hash
            ));
            self.state.lost_log_head = Some(known);
        }
        self.state.log_head = Some(head);
    }

    /// The highest generation that was ever made here, for each peer that has one.
    pub(super) fn highest(&self) -> Vec<PeerGeneration> {
        let made = self.state.peers.iter().filter(|(_, kept)| kept.held.generation > 0);
        let made = made.map(|(peer, kept)| PeerGeneration { peer: peer.clone(), generation: kept.held.generation });
        let pairs = self.pairs.iter().filter(|(_, pair)| pair.end == PairEnd::First);
        let highest = |pair: &Pair| pair.keys.iter().map(|key| key.generation).max().filter(|highest| *highest > 0);
        let together = pairs.filter_map(|(peer, pair)| {
            highest(pair).map(|generation| PeerGeneration { peer: peer.clone(), generation })
        });
        made.chain(together).collect()
    }
}
