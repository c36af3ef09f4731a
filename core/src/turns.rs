//! Two endpoints that take turns for one peer: its private key is in two places, and both are in use.
//!
//! A machine that moves shows another endpoint too. But it goes on with the session that it has, and shakes hands anew
//! every two minutes at most; two machines take the session from each other, and each must shake hands to have it back.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// Within this time, in seconds, one machine with a working session shakes hands once (REKEY_AFTER_TIME of WireGuard).
const ONE_MACHINE: u64 = 120;

/// More handshakes than this say nothing more: one machine after the other needs three.
const MOST: usize = 8;

/// The latest handshakes of one peer, each with the endpoint that it came from.
#[derive(Debug, Clone, Default)]
pub struct Turns(VecDeque<(u64, SocketAddr)>);

impl Turns {
    /// Takes note of what stands on the peer now: when its latest handshake was, in seconds of any clock, and where its
    /// packets come from. Answers with two endpoints that take turns: one has come back after the other, each with a
    /// handshake of its own, faster than one machine would.
    pub fn note(&mut self, handshake: u64, endpoint: SocketAddr) -> Option<[SocketAddr; 2]> {
        if self.0.back().is_some_and(|(last, _)| *last == handshake) {
            return None;
        }
        self.0.retain(|(at, _)| handshake.abs_diff(*at) < ONE_MACHINE);
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back((handshake, endpoint));
        let first = self.0.iter().position(|(_, known)| *known == endpoint)?;
        let (_, between) = self.0.iter().skip(first).find(|(_, known)| *known != endpoint)?;
        let found = [endpoint, *between];
        self.0.clear();
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 51820))
    }

    fn found(notes: &[(u64, u8)]) -> Vec<u64> {
        let mut turns = Turns::default();
        notes
            .iter()
            .filter(|(second, last)| turns.note(*second, at(*last)).is_some())
            .map(|(second, _)| *second)
            .collect()
    }

    #[test]
    fn an_endpoint_that_comes_back_after_another_one_is_found() {
        assert_eq!(found(&[(0, 1), (15, 2), (30, 1)]), [30]);
        assert_eq!(found(&[(0, 1), (15, 2), (30, 2), (45, 1)]), [45]);
        let mut turns = Turns::default();
        assert_eq!([turns.note(0, at(1)), turns.note(9, at(2))], [None, None]);
        assert_eq!(turns.note(18, at(1)), Some([at(1), at(2)]));
    }

    #[test]
    fn a_machine_that_moves_is_no_alarm() {
        assert!(found(&[(0, 1), (120, 1), (240, 2), (360, 2)]).is_empty());
        assert!(found(&[(0, 1), (5, 2), (10, 2), (15, 3), (20, 3)]).is_empty(), "it never comes back");
        // home, out and home again, each time with the session that it has
        assert!(found(&[(0, 1), (0, 2), (0, 1), (120, 2), (120, 1), (240, 1)]).is_empty());
        assert!(found(&[(0, 1), (120, 2), (240, 1)]).is_empty(), "no faster than one machine");
    }

    #[test]
    fn it_is_found_again_only_when_it_goes_on() {
        assert_eq!(found(&[(0, 1), (15, 2), (30, 1), (45, 2), (60, 1), (75, 2), (90, 1)]), [30, 75]);
    }
}
