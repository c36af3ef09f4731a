//! Whose keys a login means: one device of the person, or one machine of theirs with an agent.

use jiff::Timestamp;
use wgmfa_core::connection::{Connection, InterfaceRef, Other};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::PublicKey;
use wgmfa_core::name::UserName;
use wgmfa_core::policy::{PolicySet, Selection, Selector};

use super::coverage::{session_at_other_end, session_end};
use super::release::Wish;
use crate::admin::key_row::server_place;
use crate::admin::site::{Site, touches_host};
use crate::store::Place;

/// A client side.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name; devices and hosts share one name space.
    pub name: String,
    /// Its public keys.
    public_keys: Vec<PublicKey>,
    is_host: bool,
}

impl Target {
    /// Whether it is one end of a connection.
    pub fn is_end_of(&self, connection: &Connection) -> bool {
        let ends = |end: &InterfaceRef| self.is_host && end.host.as_str() == self.name;
        ends(&connection.name.one)
            || match &connection.name.other {
                Other::Device(device) => !self.is_host && device.as_str() == self.name,
                Other::Interface(end) => ends(end),
                Other::Unmonitored(_) => false,
            }
    }

    /// Where the keys of one of its connections are used; none: there it is not the client side. A host that is to be
    /// the server side after the session that runs is still the client side until then.
    pub fn place(
        &self,
        site: &Site,
        connection: &Connection,
        selection: &Selection<'_>,
        now: Timestamp,
    ) -> Option<Place> {
        if !self.is_host {
            let server_side = connection.name.one.clone();
            return Some(Place { server_side, public_key: connection.other_public_key });
        }
        let running = |place: &Place| session_end(site.record(place)?, now);
        server_place(connection, selection).filter(|place| {
            self.public_keys.contains(&place.public_key) || session_at_other_end(connection, place, running).is_some()
        })
    }
}

/// The device or owned host that a login means.
///
/// # Errors
/// It is not this person's, or it is not clear which one is meant.
pub fn choose(
    site: &Site,
    policies: &PolicySet,
    user: &UserName,
    wish: &Wish,
    now: Timestamp,
) -> Result<Target, Failure> {
    let mut mine = devices(site, user);
    mine.extend(owned_hosts(site, policies, user, now));
    let names = || mine.iter().map(|target| target.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(name) = &wish.device {
        return mine.iter().find(|target| target.name == *name && (target.is_host || !wish.push)).cloned().ok_or_else(
            || {
                let fitting = mine.iter().filter(|target| target.is_host || !wish.push);
                let names = fitting.map(|target| target.name.as_str()).collect::<Vec<_>>().join(", ");
                let hint = if names.is_empty() { "you have none".to_owned() } else { format!("yours: {names}") };
                let word = if wish.push { "--push: you own no host" } else { "--device: you have no device" };
                Failure::new(Exit::Failed, format!("{word} of that name")).hint(hint)
            },
        );
    }
    let is_here = |target: &&Target| target.public_keys.iter().any(|key| wish.hello.public_keys.contains(key));
    let here: Vec<&Target> = mine.iter().filter(is_here).collect();
    match (&here[..], &mine[..]) {
        ([target], _) => Ok((*target).clone()),
        ([], []) => Err(Failure::new(Exit::Failed, format!("{user} has no device"))
            .hint("an administrator adds it: wgmfa-bastion device add NAME --owner USER --public-key KEY")),
        ([], [_]) if !wish.hello.public_keys.is_empty() => {
            Err(Failure::new(Exit::Failed, "no WireGuard interface here has the public key of a device of yours")
                .hint(format!("your device: {}; look at wg show, or ask an administrator", names())))
        }
        ([], [target]) => Ok(target.clone()),
        _ => Err(Failure::new(Exit::Usage, format!("{user} has several devices: {}", names()))
            .hint("name one of them: --device NAME")),
    }
}

fn devices(site: &Site, user: &UserName) -> Vec<Target> {
    let mine = site.inventory.devices.iter().filter(|device| device.owner.as_ref() == Some(user));
    mine.map(|device| Target { name: device.name.to_string(), public_keys: vec![device.public_key], is_host: false })
        .collect()
}

/// The hosts of a person that are the client side of a connection: only they can have keys.
fn owned_hosts(site: &Site, policies: &PolicySet, user: &UserName, now: Timestamp) -> Vec<Target> {
    let mut selector = Selector::new(policies);
    let mut found = Vec::new();
    for host in site.inventory.hosts.iter().filter(|host| host.owner.as_ref() == Some(user)) {
        let public_keys = host.interfaces.iter().map(|interface| interface.public_key).collect();
        let target = Target { name: host.name.to_string(), public_keys, is_host: true };
        let mut its = site.connections.iter().filter(|connection| touches_host(connection, &host.name));
        if its.any(|connection| target.place(site, connection, &selector.select(connection), now).is_some()) {
            found.push(target);
        }
    }
    found
}
