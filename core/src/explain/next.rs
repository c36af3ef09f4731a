//! What happens next to a connection's key, by the plan that agents follow.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use crate::boottime::Boottime;
use crate::connection::{Connection, InterfaceRef, Other, Reported};
use crate::explain::{Next, NextAction};
use crate::inventory::{Inventory, Peer};
use crate::key::{Fingerprint, PublicKey};
use crate::message::agent::PeerRef;
use crate::name::{DeviceName, HostName};
use crate::policy::{Candidate, Policy, Selection, Sides};
use crate::rotation::{Action, Assignment, Contact, Held, Hold, Idle, Standing, View, plan};

/// Hosts and devices that were cut off, and hosts on which nothing is enforced.
pub(super) struct Disabled<'i> {
    hosts: HashSet<&'i HostName>,
    stood_down: HashSet<&'i HostName>,
    devices: HashSet<&'i DeviceName>,
}

impl<'i> Disabled<'i> {
    pub(super) fn new(inventory: &'i Inventory) -> Self {
        let hosts = inventory.hosts.iter().filter(|host| host.disabled);
        let stood_down = inventory.hosts.iter().filter(|host| host.stood_down);
        let devices = inventory.devices.iter().filter(|device| device.disabled);
        Self {
            hosts: hosts.map(|host| &host.name).collect(),
            stood_down: stood_down.map(|host| &host.name).collect(),
            devices: devices.map(|device| &device.name).collect(),
        }
    }

    /// The name of an end that was cut off.
    fn end_of(&self, connection: &Connection) -> Option<String> {
        let off = |name: &InterfaceRef| self.hosts.contains(&name.host).then(|| name.host.to_string());
        off(&connection.name.one).or_else(|| match &connection.name.other {
            Other::Interface(name) => off(name),
            Other::Device(name) => self.devices.contains(name).then(|| name.to_string()),
            Other::Unmonitored(_) => None,
        })
    }
}

impl Next {
    fn nothing(reason: impl Into<String>) -> Self {
        Self { action: NextAction::None, at: None, reason: reason.into() }
    }

    fn rotate(now: Timestamp, reason: impl Into<String>) -> Self {
        Self { action: NextAction::Rotate, at: Some(now), reason: reason.into() }
    }

    fn wait(at: Timestamp, reason: impl Into<String>) -> Self {
        Self { action: NextAction::Wait, at: Some(at), reason: reason.into() }
    }
}

pub(super) fn next(
    candidates: &[Candidate<'_>],
    selection: &Selection<'_>,
    reported: &Reported<'_>,
    disabled: &Disabled<'_>,
    now: Timestamp,
) -> Next {
    let connection = &reported.connection;
    let (policy, sides) = match selection {
        Selection::None if candidates.is_empty() => return Next::nothing("no policy names this connection"),
        Selection::None => return Next::nothing("the other end is unmonitored, and no policy covers that"),
        Selection::Conflict { reason, .. } => return Next::nothing(format!("conflict: {reason}")),
        Selection::Applies { policy, sides } => (policy, sides),
    };
    if !policy.enforce.rotates() {
        return Next::nothing("the firewall enforces this policy, and no key rotates");
    }
    if let Some(name) = disabled.end_of(connection) {
        return Next::nothing(format!("{name} is disabled, and its connections stay locked"));
    }
    if let Some(reason) = policy.rests(connection) {
        return Next::nothing(reason);
    }
    match server(sides, connection) {
        None => together(policy, reported, now),
        Some((InterfaceRef { host, .. }, _)) if disabled.stood_down.contains(host) => {
            Next::nothing(format!("root has had the agent of {host} stand down: nothing is enforced there"))
        }
        Some((server, server_key)) => match reported.by(server_key) {
            None => Next::nothing(format!("{server} does not report this peer")),
            Some(peer) if peer.kept_locked => Next::nothing("kept locked until what was removed is registered again"),
            Some(peer) => by_plan(policy, server, peer, now),
        },
    }
}

fn server<'c>(sides: &Sides, connection: &'c Connection) -> Option<(&'c InterfaceRef, PublicKey)> {
    Some((sides.server_side(connection)?, sides.server_public_key(connection)?))
}

/// Both ends rotate: by the age of the key.
fn together(policy: &Policy, reported: &Reported<'_>, now: Timestamp) -> Next {
    // the end that sorts first makes the key, so its word counts first
    let rotated_at = [reported.one, reported.other].into_iter().flatten().find_map(|peer| peer.rotated_at);
    match rotated_at.map(|rotated_at| after(rotated_at, policy)) {
        None => Next::rotate(now, "the two ends have no key from here yet"),
        Some(due) if due <= now => Next::rotate(now, "the key is one interval old"),
        Some(due) => Next::wait(due, "the key is younger than one interval"),
    }
}

fn after(start: Timestamp, policy: &Policy) -> Timestamp {
    let seconds = i64::try_from(policy.rotation_interval.as_seconds()).unwrap_or(i64::MAX);
    start.saturating_add(SignedDuration::from_secs(seconds)).expect("a length of time without calendar units")
}

/// One side rotates: asks the agent's plan, as if the agent were in contact and its interface stood as reported.
///
/// The plan only compares moments with each other, and here all of them are times of the bastion's clock; so unix
/// milliseconds stand for milliseconds since boot.
fn by_plan(policy: &Policy, server: &InterfaceRef, peer: &Peer, now: Timestamp) -> Next {
    let rotation_interval = policy.rotation_interval.as_seconds();
    let deadline = peer.deadline.or(peer.released_at.map(|released_at| after(released_at, policy)));
    let since = peer.rotated_at.unwrap_or(now);
    let standing = match (peer.generation, deadline) {
        (None, _) => Standing::Missing { reason: "there is no generation yet".to_owned() },
        (Some(generation), None) => Standing::Waiting { generation, age_seconds: seconds(since, now) },
        (Some(generation), Some(deadline)) => Standing::Released { generation, seconds_left: seconds(now, deadline) },
    };
    let assignment = Assignment {
        peer: PeerRef { interface: server.interface.clone(), public_key: peer.public_key },
        // names are for people, and no plan depends on them
        connection: String::new(),
        policy: None,
        rotation_interval,
        idle_timeout: None,
        highest_generation: peer.generation.unwrap_or(0),
        standing,
    };
    // what stands on the interface is what the agent put there, whatever it is
    let fingerprint = peer.fingerprint.unwrap_or(Fingerprint::from_bytes([0; 16]));
    let held = peer.generation.map(|generation| Held {
        generation,
        fingerprint,
        hold: match deadline {
            Some(deadline) => Hold::Open { deadline: moment(deadline) },
            None => Hold::Waiting { since: moment(since) },
        },
        rotation_interval,
    });
    let actions = plan(&View {
        now: moment(now),
        same_boot: true,
        observed: Some(fingerprint),
        held: held.as_ref(),
        idle: idle(policy, peer),
        contact: Contact::Assigned(&assignment),
    });
    match actions.into_iter().next_back() {
        Some(Action::Rotate { reason, .. }) => Next::rotate(now, reason),
        // the plan hears of a waiting key's age in whole seconds; here the moment itself is known
        Some(Action::Wait { until: Some(until), reason }) if deadline.is_none() => {
            Next::wait(time(until).min(after(since, policy)), reason)
        }
        Some(Action::Wait { until: Some(until), reason }) => Next::wait(time(until), reason),
        Some(Action::Adopt { deadline, reason }) => Next::wait(time(deadline), reason),
        Some(Action::Lock { reason } | Action::Wait { until: None, reason }) => Next::nothing(reason),
        None => Next::nothing("the server side has nothing to do"),
    }
}

/// What is known of a session's handshakes.
fn idle(policy: &Policy, peer: &Peer) -> Option<Idle> {
    let since = peer.released_at?.max(peer.latest_handshake.unwrap_or(Timestamp::MIN));
    Some(Idle { since: moment(since), timeout: policy.idle_timeout?.as_seconds() })
}

/// Whole seconds from one moment to another; none when it is past.
fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    to.duration_since(from).as_secs().try_into().unwrap_or(0)
}

fn moment(time: Timestamp) -> Boottime {
    Boottime::from_millis(time.as_millisecond().try_into().unwrap_or(0))
}

fn time(moment: Boottime) -> Timestamp {
    let millis = i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}
