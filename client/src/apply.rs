//! `wgmfa apply`, the privileged half: writes preshared keys of peers that exist, and nothing else.

use std::io::Read;
use std::path::Path;

use wgmfa_core::boottime::BootId;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::conf::{Configuration, Folders};
use wgmfa_wireguard::{EndpointRule, Error, Interface, begin_handshakes, readd, set_preshared_key};

use crate::commands::Apply;
use crate::handshake::Waiting;
use crate::interfaces::here;
use crate::order::{Answer, Done, FORMATS, Key, Order, Outcome};
use crate::sessions::{FOLDER, Locked};
use crate::{clock, rights, voice, way};

/// The command.
pub fn apply(options: &Apply) -> Result<Exit, Failure> {
    rights::require()?;
    let mut input = std::io::stdin().lock();
    let unreadable = |error| Failure::new(Exit::Failed, format!("standard input: {error}"));
    let read = match way::asked_for(&mut input).map_err(unreadable)? {
        Ok(wanted) => {
            drop(input);
            return way::hold(&wanted);
        }
        Err(read) => read,
    };
    let mut order = Order::read(read.as_slice().chain(input))?;
    order.manner.interface = options.interface.clone().or(order.manner.interface);
    order.manner.save |= options.save;
    let outcome = carry_out(&order)?;
    let exit = outcome.exit();
    if !order.manner.answer {
        tell(&outcome);
        return Ok(exit);
    }
    let waiting = Waiting::of(&outcome);
    voice::json(&Answer::Outcome(outcome));
    if order.manner.wait {
        voice::json(&Answer::Handshakes(waiting.look()));
    }
    Ok(exit)
}

/// What a person reads who has piped the order in: a line for each key, and each fault with what to do about it, which
/// stands once behind the last of several like it.
fn tell(outcome: &Outcome) {
    outcome.done.iter().for_each(|done| voice::line(&done.line()));
    for (number, fault) in outcome.faults.iter().enumerate() {
        let failure = Failure::new(Exit::Partly, fault);
        let is_last = |hint: &&str| outcome.faults.get(number + 1).and_then(|next| mends(next)) != Some(hint);
        voice::failure(&match mends(fault).filter(is_last) {
            Some(hint) => failure.hint(hint),
            None => failure,
        });
    }
}

/// What mends a fault of an order.
fn mends(fault: &str) -> Option<&'static str> {
    match fault {
        _ if fault.starts_with("line ") => Some(FORMATS),
        _ if fault.contains(": refused: ") => {
            Some("wgmfa interfaces shows what is here; a peer that is missing is never added")
        }
        _ => None,
    }
}

/// Changes what differs.
///
/// # Errors
/// Nothing was changed: no such interface, no right to change it, or the lock cannot be had.
pub fn carry_out(order: &Order) -> Result<Outcome, Failure> {
    let locked = Locked::wait(Path::new(FOLDER))?;
    let boot_id = clock::boot_id().map_err(|error| Failure::new(Exit::Failed, format!("boot id: {error}")))?;
    let interfaces = here(order.manner.interface.as_ref())?;
    let mut outcome = Outcome { done: Vec::new(), faults: order.faults.clone() };
    let (targets, faults) = targets(&order.keys, &interfaces, order.manner.interface.as_ref());
    outcome.faults.extend(faults);
    for interface in &interfaces {
        let keys: Vec<&Key> = targets.iter().filter(|(at, _)| *at == interface.name).map(|(_, key)| *key).collect();
        let opens = order.opened.iter().any(|one| one.public_key == interface.public_key);
        if opens || !keys.is_empty() {
            on_interface(order, interface, &keys, &locked, &boot_id, &mut outcome);
        }
    }
    let received = order.manner.received.unwrap_or_else(clock::boottime);
    if let Err(error) = locked.end(&order.refused, received) {
        outcome.faults.push(format!("{FOLDER}: {error}"));
    }
    Ok(outcome)
}

/// Which key goes to which interface, and why the others go nowhere.
fn targets<'a>(
    keys: &'a [Key],
    interfaces: &[Interface],
    only: Option<&InterfaceName>,
) -> (Vec<(InterfaceName, &'a Key)>, Vec<String>) {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for (index, key) in keys.iter().enumerate() {
        let fits = |interface: &&Interface| key.public_key.is_none_or(|mine| mine == interface.public_key);
        let has_peer = |interface: &&Interface| interface.peer(&key.peer).is_some();
        let mut candidates = interfaces.iter().filter(fits).filter(has_peer);
        let name = key.name();
        match (candidates.next(), candidates.next()) {
            _ if keys[..index]
                .iter()
                .any(|earlier| earlier.peer == key.peer && earlier.public_key == key.public_key) =>
            {
                faults.push(format!("{name}: refused: a second key for the same peer"));
            }
            (Some(interface), None) => found.push((interface.name.clone(), key)),
            (Some(one), Some(other)) => {
                faults.push(format!("{name}: refused: on {} and on {}; choose with --interface", one.name, other.name));
            }
            (None, _) => {
                let place = only.map_or("any interface here".to_owned(), ToString::to_string);
                let why = match key.public_key {
                    Some(mine) if !interfaces.iter().any(|interface| interface.public_key == mine) => {
                        format!("the key is for another device (public key {mine})")
                    }
                    _ => format!("{} is not a peer of {place}", key.peer),
                };
                faults.push(format!("{name}: refused: {why}"));
            }
        }
    }
    (found, faults)
}

/// One interface: compare, change what differs, then the configuration file, then what `status` reads.
fn on_interface(
    order: &Order,
    interface: &Interface,
    keys: &[&Key],
    locked: &Locked,
    boot_id: &BootId,
    outcome: &mut Outcome,
) {
    let name = &interface.name;
    let received = order.manner.received.unwrap_or_else(clock::boottime);
    let mut sessions = locked.load(name, &interface.public_key, boot_id);
    let (outrun, keys): (Vec<&Key>, Vec<&Key>) =
        keys.iter().partition(|key| sessions.of(&key.peer).is_some_and(|known| known.received > received));
    outcome.faults.extend(outrun.iter().map(|key| format!("{}: a later login was faster; its key stays", key.name())));

    let stands = |key: &Key| interface.peer(&key.peer).and_then(|peer| peer.preshared_key.as_ref());
    let (in_place, anew): (Vec<&Key>, Vec<&Key>) = keys
        .iter()
        .filter(|key| stands(key) != Some(&key.preshared_key))
        .partition(|key| key.follows.is_some() && stands(key) == key.follows.as_ref());
    let changes = |keys: &[&Key]| keys.iter().map(|key| (key.peer, key.preshared_key.clone())).collect::<Vec<_>>();
    let mut failed = Vec::new();
    let mut note = |result: Result<(), Error>, changes: &[(PublicKey, PresharedKey)], faults: &mut Vec<String>| {
        let Err(error) = result else { return };
        match &error {
            Error::NotTaken(_, peers) => failed.extend(peers),
            _ => failed.extend(changes.iter().map(|(peer, _)| *peer)),
        }
        faults.push(error.to_string());
    };
    if !in_place.is_empty() {
        let changes = changes(&in_place);
        note(set_preshared_key(name, &changes), &changes, &mut outcome.faults);
    }
    if !anew.is_empty() {
        let changes = changes(&anew);
        // the endpoint is kept, so that a handshake can be begun from here
        note(readd(name, &changes, EndpointRule::Keep), &changes, &mut outcome.faults);
    }
    let waited_for = |key: &&&Key| order.manner.wait || anew.iter().any(|one| one.peer == key.peer);
    let call: Vec<PublicKey> = keys.iter().filter(waited_for).map(|key| key.peer).collect();
    // without one it comes with the first packet, as ever
    let _ = begin_handshakes(name, &call);
    let changed: Vec<PublicKey> = in_place.iter().chain(&anew).map(|key| key.peer).collect();
    let keys: Vec<&Key> = keys.into_iter().filter(|key| !failed.contains(&key.peer)).collect();
    let saved = order.manner.save && save(name, &keys, &mut outcome.faults);
    for key in keys {
        let before = match (in_place.iter().any(|one| one.peer == key.peer), changed.contains(&key.peer)) {
            (true, _) => latest_handshake(interface, &key.peer),
            (false, true) => None,
            (false, false) => sessions.of(&key.peer).and_then(|known| known.handshake_before),
        };
        sessions.remember(key.peer, key.session.as_ref(), received, before);
        outcome.done.push(Done {
            interface: name.clone(),
            peer: key.peer,
            session: key.session.clone(),
            received,
            changed: changed.contains(&key.peer),
            saved,
            fingerprint: key.follows.as_ref().map(|_| key.preshared_key.fingerprint(&interface.public_key, &key.peer)),
        });
    }
    for one in order.opened.iter().filter(|one| one.public_key == interface.public_key) {
        sessions.remember_tier(one.peer, &one.opened, received);
    }
    if let Err(error) = locked.save(&sessions) {
        outcome.faults.push(format!("{FOLDER}/{name}.json: {error}"));
    }
}

/// Writes the keys where the interface is configured.
fn save(name: &InterfaceName, keys: &[&Key], faults: &mut Vec<String>) -> bool {
    let mut not_saved = |of: &str, failure: Failure| {
        let hint = failure.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        faults.push(format!("{of}: not saved: {}{hint}", failure.error));
    };
    let folders = Folders::default();
    let mut configuration = match Configuration::open(&folders, name) {
        Ok(Some(configuration)) => configuration,
        Ok(None) => {
            let error = format!(
                "there is no {}/{name}.conf, and systemd-networkd and NetworkManager have no file for {name}",
                folders.wireguard.display()
            );
            not_saved(name.as_str(), Failure::new(Exit::Failed, error));
            return false;
        }
        Err(failure) => {
            not_saved(name.as_str(), failure);
            return false;
        }
    };
    let mut all = true;
    for key in keys {
        // a key that opens the tunnel is for root alone, and one that a reboot takes away is not saved
        let refused = configuration.exposed(&key.peer).or_else(|| configuration.gone_after_reboot(&key.peer));
        let outcome = refused.map_or(Ok(()), Err);
        let outcome = outcome.and_then(|()| configuration.set_preshared_key(&key.peer, &key.preshared_key));
        if let Err(failure) = outcome {
            not_saved(&key.name(), failure);
            all = false;
        }
    }
    if let Err(failure) = configuration.write() {
        not_saved(name.as_str(), failure);
        all = false;
    }
    all
}

/// When a peer's latest handshake was, in seconds since 1970.
fn latest_handshake(interface: &Interface, peer: &PublicKey) -> Option<i64> {
    let latest = interface.peer(peer)?.latest_handshake?;
    jiff::Timestamp::try_from(latest).ok().map(jiff::Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use wgmfa_core::message::sync::PolicyRef;
    use wgmfa_wireguard::Peer;

    use super::*;
    use crate::order::Session;

    fn public_key(byte: u8) -> PublicKey {
        PublicKey::from_bytes([byte; 32])
    }

    fn interface(name: &str, public: u8, peers: &[u8]) -> Interface {
        let peer = |&byte: &u8| Peer {
            public_key: public_key(byte),
            preshared_key: None,
            endpoint: None,
            allowed_ips: Vec::new(),
            persistent_keepalive: None,
            latest_handshake: None,
            received: 0,
            sent: 0,
        };
        Interface {
            name: name.parse().unwrap(),
            public_key: public_key(public),
            listen_port: None,
            peers: peers.iter().map(peer).collect(),
        }
    }

    fn key(public: Option<u8>, peer: u8) -> Key {
        let policy = PolicyRef { ordinal: 1, description: "P".into(), mfa: true };
        let session = public.map(|_| Session {
            connection: format!("gw{peer}/wg:me"),
            generation: 1,
            policy,
            seconds_left: 60,
            not_prolonged: None,
            tier: None,
        });
        Key {
            peer: public_key(peer),
            public_key: public.map(public_key),
            preshared_key: PresharedKey::from_bytes([9; 32]).unwrap(),
            follows: None,
            session,
        }
    }

    #[test]
    fn a_key_goes_only_to_its_peer_on_its_own_interface() {
        let here = [interface("wg0", 1, &[10, 11]), interface("wg1", 2, &[10])];
        let keys = [key(Some(1), 10), key(Some(2), 10), key(Some(2), 11), key(Some(3), 10), key(Some(1), 10)];
        let (found, faults) = targets(&keys, &here, None);
        let found: Vec<_> = found.iter().map(|(name, key)| (name.as_str(), key.peer)).collect();
        assert_eq!(found, [("wg0", public_key(10)), ("wg1", public_key(10))]);
        assert_eq!(
            faults,
            [
                format!("gw11/wg: refused: {} is not a peer of any interface here", public_key(11)),
                format!("gw10/wg: refused: the key is for another device (public key {})", public_key(3)),
                "gw10/wg: refused: a second key for the same peer".to_owned(),
            ]
        );
    }

    #[test]
    fn a_bare_key_goes_to_its_peer_if_there_is_only_one() {
        let here = [interface("wg0", 1, &[10, 11]), interface("wg1", 2, &[10])];
        let keys = [key(None, 11), key(None, 10), key(None, 12)];
        let (found, faults) = targets(&keys, &here, None);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0.as_str(), "wg0");
        let (one, none) = (public_key(10), public_key(12));
        assert_eq!(
            faults,
            [
                format!("peer {one}: refused: on wg0 and on wg1; choose with --interface"),
                format!("peer {none}: refused: {none} is not a peer of any interface here"),
            ]
        );
    }
}
