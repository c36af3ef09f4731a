//! How many conversations there may be: a few from one address, so that nobody takes all places, and so many in all. When
//! all are taken, the oldest one is asked to go.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Most conversations with one address.
pub(super) const MOST_FROM_ONE: usize = 4;

/// Most conversations.
pub(super) const MOST: usize = 256;

/// The places.
#[derive(Default, Clone)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    last: u64,
    /// By their age, the oldest first.
    by_number: BTreeMap<u64, (IpAddr, Option<oneshot::Sender<()>>)>,
}

/// A place that is free again when this is dropped.
pub(super) struct Place {
    number: u64,
    places: Places,
}

impl Places {
    /// Takes a place for a conversation with this address, which ends when the receiver hears something. None: it has
    /// enough of them.
    pub(super) fn enter(&self, address: IpAddr) -> Option<(Place, oneshot::Receiver<()>)> {
        let mut taken = self.taken();
        if taken.by_number.values().filter(|(whose, _)| *whose == address).count() >= MOST_FROM_ONE {
            return None;
        }
        if taken.by_number.len() >= MOST {
            // Those that were asked already are on their way out.
            let oldest = taken.by_number.values_mut().find_map(|(_, go)| go.take());
            _ = oldest?.send(());
        }
        if taken.by_number.len() >= MOST + MOST_FROM_ONE {
            return None;
        }
        taken.last += 1;
        let number = taken.last;
        let (go, asked_to_go) = oneshot::channel();
        taken.by_number.insert(number, (address, Some(go)));
        Some((Place { number, places: self.clone() }, asked_to_go))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> IpAddr {
        [10, 7, (number / 200) as u8, (number % 200) as u8].into()
    }

    #[test]
    fn nobody_has_more_than_a_few() {
        let places = Places::default();
        let mut held: Vec<_> = (0..MOST_FROM_ONE).map(|_| places.enter(address(1)).unwrap()).collect();
        assert!(places.enter(address(1)).is_none());
        assert!(places.enter(address(2)).is_some());
        held.pop();
        assert!(places.enter(address(1)).is_some());
    }

    #[test]
    fn when_all_are_taken_the_oldest_is_asked_to_go() {
        let places = Places::default();
        let mut held: Vec<_> = (0..MOST).map(|number| places.enter(address(number)).unwrap()).collect();
        assert!(held.iter_mut().all(|(_, go)| go.try_recv().is_err()));
        let _new = places.enter(address(MOST)).unwrap();
        assert!(held[0].1.try_recv().is_ok());
        assert!(held[1..].iter_mut().all(|(_, go)| go.try_recv().is_err()));
        // nobody who was asked has left yet: it does not grow without bounds
        let more: Vec<_> = (0..100).filter_map(|number| places.enter(address(MOST + 1 + number))).collect();
        assert!(more.len() < MOST_FROM_ONE);
    }
}
