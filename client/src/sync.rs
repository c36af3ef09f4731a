//! `wgmfa sync`: rights first, then the login, then the keys.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use wgmfa_core::boottime::Boottime;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::message::sync::{AppliedKey, Changed, ClientAnswer, ClientHello, Release, ReleasedKey};
use wgmfa_core::message::{LINE_FROM_PERSON, VERSION, encode};
use wgmfa_core::name::InterfaceName;

use crate::code::ways;
use crate::commands::Sync;
use crate::config::Config;
use crate::host_keys;
use crate::interfaces::Listing;
use crate::last_login::LastLogin;
use crate::login::{Accepted, Login};
use crate::opened::{Opened, OpenedFor, forget, remember};
use crate::order::{Handshake, Manner, Outcome, refused, short};
use crate::person::{Person, has_terminal};
use crate::rights::{Applying, Hands};
use crate::voice::{self, foreign};
use crate::way::{self, Way};

/// How long a `PostUp` may wait for its person.
const POST_UP: Duration = Duration::from_secs(60);

/// How many keys are told in one line, so that it is shorter than [`LINE_FROM_PERSON`].
const KEYS_IN_A_LINE: usize = 400;

/// The command. As `PostUp` it ends well whatever happens, because wg-quick takes the interface down otherwise.
pub fn sync(options: &Sync, config: Option<&Path>) -> Result<Exit, Failure> {
    let person = Person::find();
    if !options.post_up {
        return run(options, config, person.as_ref());
    }
    let someone = person.as_ref().is_some_and(Person::is_behind_sudo) && has_terminal();
    let result = if someone {
        run(options, config, person.as_ref())
    } else {
        voice::line("login needed: wgmfa sync");
        Ok(Exit::LoginNeeded)
    };
    match result {
        Err(failure) if !options.or_down => {
            voice::failure(&failure);
            Ok(Exit::Done)
        }
        Ok(_) if !options.or_down => Ok(Exit::Done),
        result => result,
    }
}

fn run(options: &Sync, config: Option<&Path>, person: Option<&Person>) -> Result<Exit, Failure> {
    let config = Config::load(config, person)?;
    let bastion = options.bastion.as_ref().or(config.bastion.as_ref()).ok_or_else(|| {
        Failure::new(Exit::Usage, "no bastion is named")
            .hint("wgmfa sync [user@]host, or bastion = \"[user@]host\" in ~/.config/wgmfa/client.toml")
    })?;
    let interface = options.interface.clone().or(config.interface);
    let ssh_options: Vec<OsString> =
        config.ssh_options.unwrap_or_default().into_iter().chain(options.ssh_options.iter().cloned()).collect();

    let tiers_only = options.tiers_only || config.tiers_only.unwrap_or(false);
    let hands = if tiers_only { None } else { Some(Hands::find()?) };
    let (mut hello, mut way) = match &hands {
        Some(hands) => {
            let listing = hands.interfaces(interface.as_ref())?;
            let hello = hello(&listing, interface.as_ref().map(|name| name.as_str()))?;
            let is_meant = |name: &&InterfaceName| interface.as_ref().is_none_or(|only| only == *name);
            let tunnels: Vec<_> = listing.interfaces.iter().map(|one| &one.name).filter(is_meant).cloned().collect();
            let login =
                way::Login { bastion, options: &ssh_options, person, tunnels: &tunnels, only: interface.as_ref() };
            (hello, Way::find(hands, login))
        }
        None => (ClientHello { version: VERSION, ..ClientHello::default() }, Way::of_ssh(person)),
    };
    hello.device = options.device.as_ref().or(config.device.as_ref()).map(ToString::to_string);
    let ssh_options = way.options(&ssh_options);
    let login =
        Login { bastion, ssh_options: &ssh_options, hello: &hello, person, limit: options.post_up.then_some(POST_UP) };
    let mut accepted = login.log_in().map_err(|failure| way.explain(failure))?;
    way.was_good(person);
    let last_login = LastLogin::of(&accepted.release, bastion);
    accepted.answer(&ClientAnswer::Received { received: true });
    let changed = changed(&mut accepted);

    let received = accepted.received;
    let manner = Manner {
        interface: interface.clone(),
        save: options.save || config.save.unwrap_or(false),
        wait: options.wait,
        received: Some(received),
        answer: false,
        changed: changed.changed,
    };
    let applying = match &hands {
        Some(hands) => apply(hands, &accepted.release, manner)?,
        None => left_alone(&accepted.release, interface.or_else(ways::only_tunnel).as_ref(), received),
    };
    let applied: Vec<AppliedKey> = applying.outcome.done.iter().filter_map(|done| done.report()).collect();
    for some in applied.chunks(KEYS_IN_A_LINE) {
        accepted.answer(&ClientAnswer::Applied { applied: some.to_vec() });
    }
    voice::outcome(&applying.outcome);
    for granted in &accepted.release.grants {
        voice::line(&Opened::of(granted).line(received));
    }
    for refused in &accepted.release.refused {
        voice::remark(&format!("{}: refused: {}", short(&foreign(&refused.connection)), foreign(&refused.reason)));
    }
    let release = &accepted.release;
    if release.keys.is_empty() && release.grants.is_empty() && release.refused.is_empty() {
        voice::line(&format!("no connection of {} needs a login", foreign(&release.device)));
    }
    let (granted, refused) = (!release.grants.is_empty(), !release.refused.is_empty());
    let announced = std::mem::take(&mut accepted.release.host_keys);
    accepted.end();
    last_login.remember();
    host_keys::follow(bastion, &ssh_options, person, &announced);
    drop(way); // routing is as it was
    let exit = exit(&applying.outcome, granted, refused);
    let handshakes = applying.handshakes(options.wait);
    handshakes.iter().for_each(tell);
    Ok(if handshakes.iter().any(|handshake| handshake.millis.is_none()) { Exit::Partly } else { exit })
}

/// Which of the connections go on with their next generation.
fn changed(accepted: &mut Accepted) -> Changed {
    if accepted.release.keys.iter().all(|key| key.next.is_none()) {
        return Changed::default();
    }
    let changed = accepted.changed();
    match &changed {
        Some(changed) if changed.unsure.is_empty() => {}
        Some(_) => {
            voice::remark("a server did not say in time whether its key has changed; if the tunnel stops: wgmfa sync")
        }
        None => voice::remark("the bastion did not say whether the keys have changed; if the tunnel stops: wgmfa sync"),
    }
    changed.unwrap_or_default()
}

/// What the bastion must know of this machine to choose the device and its connections.
///
/// # Errors
/// There is no interface, or not the named one: nobody needs to type a code for that.
fn hello(listing: &Listing, only: Option<&str>) -> Result<ClientHello, Failure> {
    let chosen: Vec<_> =
        listing.interfaces.iter().filter(|interface| only.is_none_or(|name| interface.name.as_str() == name)).collect();
    if chosen.is_empty() {
        let error =
            only.map_or("no WireGuard interface here".to_owned(), |name| format!("no WireGuard interface {name}"));
        return Err(Failure::new(Exit::Failed, error).hint("bring it up first, for example: sudo wg-quick up wg0"));
    }
    let public_keys = chosen.iter().map(|interface| interface.public_key).collect();
    let peers = chosen.iter().flat_map(|interface| interface.peers.iter().map(|peer| peer.public_key)).collect();
    let mut hello = ClientHello { version: VERSION, public_keys, peers, device: None, renews: true };
    if encode(&hello).len() > LINE_FROM_PERSON / 2 {
        hello.peers.clear(); // too many to name: all of the device
    }
    Ok(hello)
}

/// Has the keys written. Where there are none, nothing needs to be changed: tiers are open or refused already, and what
/// hinders `status` from knowing that is no failure.
fn apply(hands: &Hands, release: &Release, manner: Manner) -> Result<Applying, Failure> {
    if release.keys.is_empty() && release.grants.is_empty() && release.refused.is_empty() {
        return Ok(Applying::nothing(Outcome::default()));
    }
    let applied = hands.apply(release, manner);
    if !release.keys.is_empty() {
        return applied;
    }
    match applied {
        Ok(applying) if applying.outcome.faults.is_empty() => return Ok(applying),
        Ok(applying) => applying.outcome.faults.iter().for_each(|fault| unknown_to_status(fault)),
        Err(failure) => unknown_to_status(&failure.error),
    }
    Ok(Applying::nothing(Outcome::default()))
}

/// What remains of a release when no interface may be changed: the tiers.
fn left_alone(release: &Release, interface: Option<&InterfaceName>, received: Boottime) -> Applying {
    let opened: Vec<_> = release.grants.iter().map(OpenedFor::of).collect();
    let remembered = match interface {
        Some(name) => remember(&opened, name, received),
        None => Err(Failure::new(Exit::Failed, "name the interface: --interface")),
    };
    if let Err(failure) = remembered.as_ref().map_err(|failure| failure.error.as_str())
        && !opened.is_empty()
    {
        unknown_to_status(failure);
    }
    if let Err(failure) = forget(&refused(release), received) {
        unknown_to_status(&failure.error);
    }
    let fault =
        |key: &ReleasedKey| format!("{}: its key was not written: --tiers-only", short(&foreign(&key.connection)));
    Applying::nothing(Outcome { done: Vec::new(), faults: release.keys.iter().map(fault).collect() })
}

fn unknown_to_status(why: &str) {
    voice::remark(&format!("wgmfa status does not know of it: {why}"));
}

fn exit(outcome: &Outcome, granted: bool, refused: bool) -> Exit {
    match outcome.exit() {
        Exit::Done if refused => Exit::Partly,
        Exit::Failed if granted => Exit::Partly,
        exit => exit,
    }
}

fn tell(handshake: &Handshake) {
    match handshake.millis {
        Some(millis) => voice::line(&format!("{}: connected in {millis} ms", handshake.name)),
        None => voice::remark(&format!(
            "{}: no handshake yet; it comes with the first packet, if the other side is there",
            handshake.name
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(peers: usize) -> Listing {
        let key = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            wgmfa_core::key::PublicKey::from_bytes(bytes).to_string()
        };
        let peers: Vec<_> = (0..peers).map(|number| serde_json::json!({"public_key": key(number)})).collect();
        serde_json::from_value(serde_json::json!({"version": 1, "interfaces": [
            {"name": "wg0", "public_key": key(1_000_000), "peers": peers},
            {"name": "wg1", "public_key": key(1_000_001), "peers": []},
        ]}))
        .unwrap()
    }

    #[test]
    fn the_hello_names_the_interfaces_that_are_meant() {
        let all = hello(&listing(2), None).unwrap();
        assert_eq!((all.public_keys.len(), all.peers.len()), (2, 2));
        let one = hello(&listing(2), Some("wg1")).unwrap();
        assert_eq!((one.public_keys.len(), one.peers.len()), (1, 0));
        assert_eq!(hello(&listing(2), Some("wg2")).unwrap_err().error, "no WireGuard interface wg2");
    }

    #[test]
    fn a_hello_fits_into_a_pipe_that_nobody_reads_yet() {
        assert_eq!(hello(&listing(10_000), None).unwrap().peers, []);
        assert!(encode(&hello(&listing(600), None).unwrap()).len() < 64 * 1024);
    }
}
