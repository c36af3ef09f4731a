//! A person's device: the keys that it has written into its interface (`client/src/sync.rs`, `client/src/order.rs`).

use std::collections::BTreeMap;

use super::key::Key;
use super::site::Place;

/// What a client has been given for one connection.
#[derive(Debug, Clone)]
pub struct Given {
    pub place: Place,
    pub generation: u64,
    pub key: Key,
    /// What both ends change to, as soon as the bastion has said that the server side has.
    pub next: Option<(u64, Key)>,
    /// The bastion has said so.
    pub changed: bool,
}

/// The keys of each device, by the place whose peer it is.
#[derive(Debug, Default)]
pub struct Clients(BTreeMap<Place, (u64, Key)>);

impl Clients {
    /// A client puts what is in force into its interface; answers with the generations that it uses now.
    pub fn apply(&mut self, given: &[Given]) -> Vec<(Place, u64)> {
        let in_force = |given: &Given| given.next.filter(|_| given.changed).unwrap_or((given.generation, given.key));
        let used: Vec<_> = given.iter().map(|given| (given.place, in_force(given))).collect();
        self.0.extend(used.iter().copied());
        used.into_iter().map(|(place, (generation, _))| (place, generation)).collect()
    }

    /// The key with which the device at a place shakes hands.
    pub fn key(&self, place: Place) -> Option<Key> {
        self.0.get(&place).map(|(_, key)| *key)
    }
}
