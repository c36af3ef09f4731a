//! How many conversations there may be: a few from one address, so that nobody takes all places, and so many in all. When
//! all are taken, the oldest one is asked to go: what a lost packet has left half open must keep nobody out.

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
    /// Takes a place for a conversation with this address, which ends when the receiver hears something. None: those that
    /// were asked to go are still there.
    pub(super) fn enter(&self, address: IpAddr) -> Option<(Place, oneshot::Receiver<()>)> {
        let mut taken = self.taken();
        taken.make_room(MOST_FROM_ONE, |whose| *whose == address)?;
        taken.make_room(MOST, |_| true)?;
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

impl Taken {
    /// Asks the oldest of these to go if there are so many. None: too many of them were asked before, and are still on their
    /// way out.
    fn make_room(&mut self, most: usize, of: impl Fn(&IpAddr) -> bool) -> Option<()> {
        let mut there = 0;
        let mut stays = None;
        for (_, go) in self.by_number.values_mut().filter(|(whose, _)| of(whose)) {
            there += 1;
            stays = stays.or_else(|| go.is_some().then_some(go));
        }
        if there >= most + MOST_FROM_ONE {
            return None;
        }
        if there >= most {
            // it may have gone by itself just now
            _ = stays?.take()?.send(());
        }
        Some(())
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
    fn nobody_has_more_than_a_few_and_the_oldest_of_them_makes_room() {
        let places = Places::default();
        let mut others = places.enter(address(2)).unwrap();
        let mut held: Vec<_> = (0..MOST_FROM_ONE).map(|_| places.enter(address(1)).unwrap()).collect();
        held.push(places.enter(address(1)).unwrap());
        assert!(held[0].1.try_recv().is_ok() && held[1..].iter_mut().all(|(_, go)| go.try_recv().is_err()));
        // nobody who was asked has left yet: it does not grow without bounds
        let more: Vec<_> = (0..100).filter_map(|_| places.enter(address(1))).collect();
        assert_eq!(held.len() + more.len(), 2 * MOST_FROM_ONE);
        assert!(others.1.try_recv().is_err(), "others are left alone");
        held.remove(0);
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
