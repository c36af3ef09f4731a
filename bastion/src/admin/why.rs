//! `why NAME`: the first thing that stands in the way of a person or a connection, and the command that mends it.

use jiff::Timestamp;
use wgmfa_core::connection::Other;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::name::{HostName, UserName};
use wgmfa_core::policy::Selection;
use wgmfa_core::state::KeyState;

use super::answer::{Answer, json_line, shown};
use super::host::last_seen;
use super::key_row::{KeyRow, rows};
use super::site::{Site, serves};
use super::tier_row::by_firewall;
use super::{Asked, Context};
use crate::config::FirstFactor;
use crate::store::{Event, Filter, PasswordKind, Person, StoreError};

/// What stands in the way, and the command that mends it.
#[derive(Debug, PartialEq, Eq)]
struct Obstacle {
    what: String,
    mend: Option<String>,
}

impl Obstacle {
    fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: Some(mend.into()) }
    }
}

/// Answers for a person, or for the one connection that has this part in its name.
///
/// # Errors
/// Nobody and nothing has this name, or several connections have it.
pub fn run(name: &str, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let site = Site::read(context.store)?;
    let person = match name.parse::<UserName>() {
        Ok(user) => context.store.person(&user)?,
        Err(_) => None,
    };
    let (subject, obstacle) = match person {
        Some(person) => (person.name.to_string(), of_person(&person, &site, context)?),
        None => {
            let connection = site.find(name).map_err(|failure| unknown(name, failure))?;
            let row = rows(&site, &[connection], context)?.remove(0);
            (connection.name.to_string(), of_connection(&row, context)?)
        }
    };
    if asked.json {
        return Ok(shown(json_line(&serde_json::json!({
            "version": 1,
            "name": subject,
            "obstacle": obstacle.as_ref().map(|obstacle| &obstacle.what),
            "mend": obstacle.as_ref().and_then(|obstacle| obstacle.mend.as_ref()),
        }))));
    }
    Ok(shown(match obstacle {
        None => format!("{subject}: nothing stands in the way\n"),
        Some(Obstacle { what, mend: None }) => format!("{subject}: {what}\n"),
        Some(Obstacle { what, mend: Some(mend) }) => format!("{subject}: {what}\n    {mend}\n"),
    }))
}

fn unknown(name: &str, failure: Failure) -> Failure {
    if failure.error.contains("ambiguous") {
        return failure;
    }
    Failure::new(Exit::Failed, format!("neither a person nor a connection is called '{name}'"))
        .hint("wgmfa-bastion user list and wgmfa-bastion key list show them")
}

fn of_person(person: &Person, site: &Site, context: &Context<'_>) -> Result<Option<Obstacle>, Failure> {
    let name = &person.name;
    if person.disabled {
        return Ok(Some(Obstacle::new("disabled by an administrator", format!("wgmfa-bastion user enable {name}"))));
    }
    if let Some(obstacle) = guessing(name, context)? {
        return Ok(Some(obstacle));
    }
    if let Some(obstacle) = not_enrolled(person, context) {
        return Ok(Some(obstacle));
    }
    if let Some(obstacle) = lacks_a_factor(person, context) {
        return Ok(Some(obstacle));
    }
    let own: Vec<_> = site.connections.iter().filter(|connection| serves(connection, name)).collect();
    if own.is_empty() {
        let devices: Vec<_> = context.store.devices()?.into_iter().filter(|device| device.owner == *name).collect();
        return Ok(Some(match devices.first() {
            None => Obstacle::new(
                "owns no device",
                format!("wgmfa-bastion device add NAME --owner {name} --public-key KEY"),
            ),
            Some(device) => {
                Obstacle::new(format!("no host has reported {} as a peer", device.name), "wgmfa-bastion status")
            }
        }));
    }
    let mut login = None;
    for row in rows(site, &own, context)? {
        match of_connection(&row, context)? {
            // a login is the person's own affair: anything else stands before it
            Some(obstacle) if row.state == KeyState::Expired && obstacle.mend.as_deref() == Some(LOGIN) => {
                login = login
                    .or(Some(Obstacle { what: format!("{}: {}", row.connection.name, obstacle.what), ..obstacle }));
            }
            Some(obstacle) => {
                return Ok(Some(Obstacle { what: format!("{}: {}", row.connection.name, obstacle.what), ..obstacle }));
            }
            None => {}
        }
    }
    let refused = Filter {
        event: Some(Event::LoginRefused),
        user: Some(name.to_string()),
        since: last_cleared(person, context)?,
        limit: Some(1),
        ..Filter::default()
    };
    if let Some(reason) = context.store.log(&refused)?.pop().and_then(|line| line.reason) {
        let what = format!("the last login was refused: {reason}");
        return Ok(Some(Obstacle::new(what, format!("wgmfa-bastion log --user {name} --event login-refused"))));
    }
    if let Some(until) = person.telephone_until.filter(|until| context.now < *until) {
        let what = format!("a one-time code for the telephone is waiting until {}", context.when().clock(until));
        return Ok(Some(Obstacle::new(what, format!("wgmfa-bastion user code {name} --reason TEXT, for a new one"))));
    }
    Ok(login)
}

/// When a person last passed, or an administrator last gave new secrets or forgave: what was refused before is over.
fn last_cleared(person: &Person, context: &Context<'_>) -> Result<Option<Timestamp>, StoreError> {
    let mut last = person.last_login_at;
    for event in [Event::UserReset, Event::UserUnlocked] {
        let user = Some(person.name.to_string());
        let filter = Filter { event: Some(event), user, limit: Some(1), ..Filter::default() };
        last = last.max(context.store.log(&filter)?.pop().map(|line| line.time));
    }
    Ok(last)
}

/// What keeps each person out for ever who is neither disabled nor still invited, and what mends it.
///
/// # Errors
/// The store cannot be read.
pub fn shut_out(context: &Context<'_>) -> Result<Vec<String>, StoreError> {
    let people = context.store.people()?;
    let comes = people.iter().filter(|person| !person.disabled && person.invited_until.is_none());
    let told = comes.filter_map(|person| {
        let Obstacle { what, mend } = lacks_a_factor(person, context)?;
        Some(format!("{} can never log in: {what} ({})", person.name, mend.unwrap_or_default()))
    });
    Ok(told.collect())
}

/// A factor of the login that a person does not have.
fn lacks_a_factor(person: &Person, context: &Context<'_>) -> Option<Obstacle> {
    let name = &person.name;
    let reset = format!("wgmfa-bastion user reset {name}");
    if !person.has_code && person.recovery_left == 0 && context.config.require_code {
        return Some(Obstacle::new("has no authenticator app and no recovery code", reset));
    }
    let factor = context.config.first_factor;
    if factor == FirstFactor::Publickey && person.ssh_keys == 0 {
        let what = "has no registered SSH key, and first-factor is \"publickey\"";
        return Some(Obstacle::new(what, format!("wgmfa-bastion user key add {name} --key FILE")));
    }
    let key_stands_in = person.ssh_keys > 0 && factor != FirstFactor::Password;
    (person.password == PasswordKind::Unset && !key_stands_in).then(|| Obstacle::new("has no password", reset))
}

/// Somebody who was invited, and has not come.
fn not_enrolled(person: &Person, context: &Context<'_>) -> Option<Obstacle> {
    let (name, until) = (&person.name, person.invited_until?);
    let clock = context.when().clock(until);
    Some(match context.now < until {
        true => Obstacle::new(
            format!("invited until {clock}, and has not enrolled"),
            format!("{name}: ssh -t {name}@bastion wgmfa-enrol"),
        ),
        false => Obstacle::new(
            format!("the invitation expired at {clock}, unused"),
            format!("wgmfa-bastion user reset {name}"),
        ),
    })
}

/// Locks that failed logins have brought about.
fn guessing(name: &UserName, context: &Context<'_>) -> Result<Option<Obstacle>, Failure> {
    let unlock = format!("wgmfa-bastion user unlock {name}");
    let all = context.store.all_guesses()?;
    let own = all.iter().filter(|(user, ..)| user == name);
    for (_, source, pair) in own {
        if let Some(until) = pair.lock_at(context.now) {
            let what = format!("locked from {source} until {} after failed logins", context.when().clock(until));
            return Ok(Some(Obstacle::new(what, unlock)));
        }
        let (_, of_all_sources) = context.store.guesses(name, *source)?;
        if of_all_sources.restricted() {
            let what = "a hundred failed logins in a day: only known sources and recovery codes are let in";
            return Ok(Some(Obstacle::new(what, unlock)));
        }
    }
    for tunnel in context.store.all_code_guesses()?.into_iter().filter(|tunnel| tunnel.person == *name) {
        if let Some(until) = tunnel.record.lock_at(context.now) {
            let (host, until) = (tunnel.host, context.when().clock(until));
            let what = format!("locked inside a tunnel of {host} until {until} after wrong codes; logins are not");
            return Ok(Some(Obstacle::new(what, unlock)));
        }
    }
    Ok(None)
}

/// The command by which a person opens a session.
const LOGIN: &str = "wgmfa sync";

fn of_connection(row: &KeyRow<'_>, context: &Context<'_>) -> Result<Option<Obstacle>, Failure> {
    if let Some(obstacle) = cut_off(row, context)? {
        return Ok(Some(obstacle));
    }
    let policy = match &row.selection {
        Selection::Conflict { policy, reason } => {
            let file = context.config.policy_dir.join(&policy.file);
            let what = format!("{policy} contradicts itself here: {reason}");
            return Ok(Some(Obstacle::new(what, format!("edit {}, then wgmfa-bastion reload", file.display()))));
        }
        Selection::None => {
            let locked = || {
                Obstacle::new(
                    "no policy covers it any more, so it stays locked",
                    "add a policy, then wgmfa-bastion reload",
                )
            };
            return Ok(row.record.map(|_| locked()));
        }
        Selection::Applies { policy, .. } => policy,
    };
    if let Some(obstacle) = kept_locked(row) {
        return Ok(Some(obstacle));
    }
    for host in hosts_of(row) {
        if let Some(obstacle) = of_host(&host, row, context)? {
            return Ok(Some(obstacle));
        }
    }
    if let Some(reason) = policy.rests(row.connection) {
        // what a policy with a second factor left behind there
        let locked = || {
            let set = format!("wgmfa-bastion key set {} --reason TEXT < key", row.connection.name);
            Obstacle::new(format!("it stays locked: {reason}"), set)
        };
        return Ok(row.record.map(|_| locked()));
    }
    if !policy.mfa() {
        return Ok(None);
    }
    let reason = row.reason.clone();
    let name = &row.connection.name;
    Ok(match row.state {
        KeyState::Expired if row.locked && by_firewall(&row.selection) => Some(Obstacle::new(
            reason.unwrap_or("it is locked".to_owned()),
            format!("wg genpsk | wgmfa-bastion key set {name} --reason TEXT"),
        )),
        KeyState::Expired => Some(Obstacle::new(reason.unwrap_or("a login is needed".to_owned()), LOGIN)),
        KeyState::MatchPending => Some(Obstacle::new(
            "a key is released, and no handshake was seen with it yet",
            "on the device: wgmfa status, then wgmfa sync",
        )),
        KeyState::MismatchPending | KeyState::Pending | KeyState::Mismatch => Some(Obstacle::new(
            reason.unwrap_or("the server side has not confirmed its last change".to_owned()),
            format!("on {}: wgmfa-agent rotate", name.one.host),
        )),
        _ => None,
    })
}

/// What was removed is back under another name: who registers its key frees the connection.
fn kept_locked(row: &KeyRow<'_>) -> Option<Obstacle> {
    let record = row.record?;
    let reason = record.kept_locked.as_ref()?;
    let (name, key) = (&row.connection.name, record.place.public_key);
    let owner = match &name.other {
        Other::Interface(end) if name.one == record.place.server_side => Some(&end.host),
        Other::Interface(_) => Some(&name.one.host),
        Other::Device(_) | Other::Unmonitored(_) => None,
    };
    Some(match owner {
        Some(host) => Obstacle::new(
            format!("kept locked: {reason}, and its public key is one of {host} now"),
            format!("wgmfa-bastion host accept {host}"),
        ),
        None => Obstacle::new(
            format!("kept locked: {reason}"),
            format!("wgmfa-bastion device add NAME --owner USER --public-key {key}"),
        ),
    })
}

/// A device, person or host that an administrator has cut off.
fn cut_off(row: &KeyRow<'_>, context: &Context<'_>) -> Result<Option<Obstacle>, Failure> {
    if let Other::Device(name) = &row.connection.name.other
        && let Some(device) = context.store.device(name)?
    {
        if device.disabled {
            return Ok(Some(Obstacle::new(
                format!("the device {name} is disabled"),
                format!("wgmfa-bastion device enable {name}"),
            )));
        }
        if device.owner_disabled {
            return Ok(Some(owner_disabled(&device.owner)));
        }
    }
    Ok(None)
}

fn owner_disabled(owner: &UserName) -> Obstacle {
    Obstacle::new(format!("the owner {owner} is disabled"), format!("wgmfa-bastion user enable {owner}"))
}

fn hosts_of(row: &KeyRow<'_>) -> Vec<HostName> {
    let mut hosts = vec![row.connection.name.one.host.clone()];
    if let Other::Interface(end) = &row.connection.name.other {
        hosts.push(end.host.clone());
    }
    hosts
}

/// Whether a host keeps the connection shut: cut off, a changed key, an agent that does not come, no generation yet.
fn of_host(name: &HostName, row: &KeyRow<'_>, context: &Context<'_>) -> Result<Option<Obstacle>, Failure> {
    let Some(host) = context.store.host(name)? else { return Ok(None) };
    if host.disabled {
        return Ok(Some(Obstacle::new(
            format!("the host {name} is disabled"),
            format!("wgmfa-bastion host enable {name}"),
        )));
    }
    if let Some(owner) = host.owner.as_ref().filter(|_| host.owner_disabled) {
        return Ok(Some(owner_disabled(owner)));
    }
    if !host.pending.is_empty() {
        return Ok(Some(Obstacle::new(
            format!("an interface key of {name} has changed, and nobody has agreed to it"),
            format!("wgmfa-bastion host accept {name}"),
        )));
    }
    let away = !context.agents.connected(name);
    let no_key = row.current().is_none() && !by_firewall(&row.selection);
    let waiting = no_key || matches!(row.state, KeyState::MismatchPending | KeyState::Pending);
    if away && waiting {
        let seen = last_seen(&host, context)
            .map_or("never came".to_owned(), |seen| format!("was last seen {}", context.when().ago(seen)));
        return Ok(Some(Obstacle::new(
            format!("the agent of {name} {seen}, and has a change to make"),
            format!("on {name}: wgmfa-agent rotate"),
        )));
    }
    Ok(None)
}
