//! How a release and a person's status are written: for scripts on standard output, for people on standard error.

use std::rc::Rc;

use wgmfa_core::exit::Exit;
use wgmfa_core::interval::left;
use wgmfa_core::key::SecretText;
use wgmfa_core::message::encode;
use wgmfa_core::message::sync::{GrantedTier, RefusedKey, Release, ReleasedKey};
use wgmfa_core::name::UserName;
use zeroize::Zeroizing;

use super::Keeper;
use super::caller::By;
use super::person::Said;

/// `--format json`: the object on standard output; what was refused also on standard error.
pub fn json(release: &Release) -> Said {
    let object = String::from_utf8(encode(release)).expect("JSON is UTF-8");
    let stderr = release.refused.iter().map(|one| refused(one, &release.device)).collect();
    Said { stdout: SecretText::new(object), stderr, exit: exit(release) }
}

/// The keys on standard output, a line each; what a person wants to read on standard error.
pub fn tsv(keeper: &Rc<Keeper>, release: &Release) -> Said {
    let device = &release.device;
    let open = |key: &ReleasedKey| opened(keeper, server_side(&key.connection, device), key);
    let mut stderr: String = release.keys.iter().map(open).collect();
    stderr.extend(release.grants.iter().map(|tier| opened_tier(keeper, server_side(&tier.connection, device), tier)));
    stderr.extend(release.refused.iter().map(|one| refused(one, device)));
    if stderr.is_empty() {
        stderr = format!("{}: no connection of this device needs a login\n", release.device);
    }
    Said { stdout: lines(&release.keys), stderr, exit: exit(release) }
}

/// `PEER-PUBLIC-KEY<TAB>PRESHARED-KEY`, a line each.
pub fn lines(released: &[ReleasedKey]) -> SecretText {
    let mut keys = Zeroizing::new(String::with_capacity(released.len() * 96));
    for key in released {
        keys.push_str(&format!("{}\t", key.peer_public_key));
        keys.push_str(&key.preshared_key.expose_base64());
        keys.push('\n');
    }
    SecretText::new(std::mem::take(&mut keys))
}

/// `app-gw/devices: OK, 60 min left (until 15:55), policy 101 Prod User Devices`
pub fn opened(keeper: &Keeper, name: &str, key: &ReleasedKey) -> String {
    let (left, until) = (left(key.seconds_left), keeper.clock(key.deadline));
    let policy = format!("policy {} {}", key.policy.ordinal, key.policy.description);
    let tier = key.tier.as_ref().map_or(String::new(), |tier| format!(", tier {tier}"));
    let why = key.not_prolonged.as_ref().map_or(String::new(), |why| format!("; {why}"));
    format!("{name}: OK, {left} (until {until}), {policy}{tier}{why}\n")
}

/// `app-gw/devices: OK, 60 min left (until 15:55), policy 101 Prod User Devices, tier prod`
pub fn opened_tier(keeper: &Keeper, name: &str, opened: &GrantedTier) -> String {
    let GrantedTier { state, tier, policy, waits, .. } = opened;
    let (left, until) = (left(opened.seconds_left), keeper.clock(opened.deadline));
    let waits = waits.as_ref().map_or(String::new(), |waits| format!("; {waits}"));
    let policy = format!("policy {} {}", policy.ordinal, policy.description);
    format!("{name}: {state}, {left} (until {until}), {policy}, tier {tier}{waits}\n")
}

/// `db-gw/devices: refused: next round of db-gw expected by 14:56`
pub fn refused(refused: &RefusedKey, device: &str) -> String {
    format!("{}: refused: {}\n", server_side(&refused.connection, device), refused.reason)
}

/// A person's own connections are told apart by their other end, which is the server side.
pub fn server_side<'a>(connection: &'a str, device: &str) -> &'a str {
    match connection.split_once(':') {
        Some((one, other)) if one.split('/').next() == Some(device) => other,
        Some((one, _)) => one,
        None => connection,
    }
}

fn exit(release: &Release) -> Exit {
    if release.refused.is_empty() { Exit::Done } else { Exit::Partly }
}

/// `wgmfa-status`: the person's own connections, as `key list` shows them; in colour on a terminal.
pub fn status(keeper: &Rc<Keeper>, user: &UserName, json: bool, terminal: bool) -> String {
    let by = By { name: user.to_string(), from: None };
    keeper.with_admin(&by, |context| crate::admin::own_connections(context, user, json, terminal))
}
