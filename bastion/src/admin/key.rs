//! `key …`: the connections and their preshared keys.

use jiff::Timestamp;
use wgmfa_core::connection::Connection;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::name::{HostName, UserName};
use wgmfa_core::policy::{Selection, Selector};
use wgmfa_core::release::Phase;

use super::answer::{Answer, json_line, list, no_such, revokes, rounds, shown, with_exit};
use super::key_row::{self, KeyRow, server_place};
use super::site::{Site, places, serves, touches_host};
use super::table::{Cell, Table, or_dash};
use super::watch::Watched;
use super::{Asked, Context, Order, by_hand, show, watch};
use crate::cli::words::KeyCommand;
use crate::store::{Place, StoreError};
use crate::voice;

/// Carries out one of these commands.
///
/// # Errors
/// It cannot be done; nothing was changed.
pub fn run(command: &KeyCommand, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let site = Site::read(context.store)?;
    match command {
        KeyCommand::List { names, without_mfa, watch: true } => {
            watch::begin(Watched::Named { names: names.clone(), without_mfa: *without_mfa }, asked, context)
        }
        KeyCommand::List { names, without_mfa, watch: false } => {
            let chosen = site.having(names)?;
            let mut rows = key_row::rows(&site, &chosen, context)?;
            if *without_mfa {
                rows.retain(|row| !row.has_second_factor());
            }
            Ok(if asked.json {
                list("connections", &objects(&rows))
            } else {
                shown(table(&rows, asked.colour, context))
            })
        }
        KeyCommand::Show { connections, reason } => show::run(connections, reason, &site, asked),
        KeyCommand::Set { connection, reason } => by_hand::set(connection, reason, &site, asked),
        KeyCommand::Rotate { connections, user, host, all, reason } => {
            if let Some(user) = user
                && context.store.person(user)?.is_none()
            {
                return Err(no_such("user", user));
            }
            if let Some(host) = host
                && context.store.host(host)?.is_none()
            {
                return Err(no_such("host", host));
            }
            let mut chosen: Vec<&Connection> = Vec::new();
            for text in connections {
                chosen.push(site.find(text)?);
            }
            let by_name = chosen.len();
            let wanted = |connection: &&Connection| {
                *all || user.as_ref().is_some_and(|user| serves(connection, user))
                    || host.as_ref().is_some_and(|host| touches_host(connection, host))
            };
            if by_name == 0 && user.is_none() && host.is_none() && !*all {
                return Err(Failure::new(Exit::Usage, "no connection is named")
                    .hint("name connections, or give --user, --host or --all"));
            }
            let more = site.connections.iter().filter(wanted);
            let mut selector = Selector::new(context.policies);
            let more = more
                .filter(|connection| rotatable(connection, &selector.select(connection), &site, context.now).is_ok());
            chosen.extend(more);
            chosen.sort_by(|one, other| one.name.cmp(&other.name));
            chosen.dedup_by(|one, other| one.name == other.name);
            rotate(&chosen, reason, &site, asked, context)
        }
    }
}

/// A person's own connections, for `wgmfa-status`: as `key list` shows them.
pub fn own_connections(context: &Context<'_>, user: &UserName, json: bool, colour: bool) -> Result<String, StoreError> {
    let site = Site::read(context.store)?;
    let rows = key_row::rows(&site, &own(&site, user), context)?;
    if json {
        return Ok(json_line(&serde_json::json!({ "version": 1, "connections": objects(&rows) })));
    }
    Ok(table(&rows, colour, context))
}

/// A person's own connections.
pub fn own<'a>(site: &'a Site, user: &UserName) -> Vec<&'a Connection> {
    site.connections.iter().filter(|connection| serves(connection, user)).collect()
}

/// Rows for programs.
pub fn objects(rows: &[KeyRow<'_>]) -> Vec<key_row::KeyJson> {
    rows.iter().map(KeyRow::json).collect()
}

/// Rows for people.
pub fn table(rows: &[KeyRow<'_>], colour: bool, context: &Context<'_>) -> String {
    let when = context.when();
    let mut table = Table::new(&["HOST", "INTERFACE", "OTHER END", "POLICY", "STATE"], colour);
    for row in rows {
        let name = &row.connection.name;
        let policy = row.policy().map(|policy| format!("{} {}", policy.ordinal, policy.description));
        let detail = row.detail(&when);
        let gap = if detail.is_empty() { "" } else { "  " };
        let state = match row.state {
            wgmfa_core::state::KeyState::Unmonitored => "-",
            state => state.name(),
        };
        table.row([
            (&name.one.host).into(),
            (&name.one.interface).into(),
            (&name.other).into(),
            or_dash(policy).into(),
            Cell::painted(state, row.state.colour(), &format!("{gap}{detail}")),
        ]);
    }
    table.render("no connections")
}

/// Whether a person has the key of this connection now, on whichever end accepts it.
pub fn has_session(connection: &Connection, site: &Site, now: Timestamp) -> bool {
    places(connection).iter().any(|place| is_open(place, site, now))
}

/// Whether a person has the key of this place now: its server must lock the peer before it makes another key.
fn is_open(place: &Place, site: &Site, now: Timestamp) -> bool {
    let current = site.record(place).and_then(|record| record.current.as_deref());
    let until = current.and_then(|current| match current.phase {
        Phase::Released { deadline } => Some(deadline),
        Phase::Deposited | Phase::Applied | Phase::Expired => None,
    });
    until.is_some_and(|until| until > now)
}

/// What `key rotate` does to a connection.
enum Rotated {
    /// A new generation is ordered.
    Key(Place),
    /// The firewall alone enforces: its grants are over.
    Gate(Place),
}

/// Where a new generation of this connection can be ordered. Whoever has its key now loses it, also where the policies
/// have changed meanwhile and a session from before runs: then it is at the end that lets them in.
fn rotatable(
    connection: &Connection,
    selection: &Selection<'_>,
    site: &Site,
    now: Timestamp,
) -> Result<Rotated, String> {
    if let Some(open) = places(connection).into_iter().find(|place| is_open(place, site, now)) {
        return Ok(Rotated::Key(open));
    }
    if let Some(why) = shut(connection, site) {
        return Err(format!("{why}, so no key is made; wgmfa-bastion why {}", connection.name));
    }
    let Some(policy) = selection.policy() else { return Err("no policy applies".to_owned()) };
    if !policy.enforce.rotates() {
        let place = server_place(connection, selection);
        let is_let_through = |place: &Place| {
            let peer = site.peer(&place.server_side, &place.public_key);
            let by_root = peer.and_then(|peer| peer.opened_by_root_until);
            by_root.is_some_and(|until| until > now) || !site.grants(place).is_empty()
        };
        return place
            .filter(is_let_through)
            .map(Rotated::Gate)
            .ok_or_else(|| "the firewall enforces its policy, and no tier is open".to_owned());
    }
    if let Some(why) = policy.rests(connection) {
        return Err(why);
    }
    let place = maker(connection, selection);
    site.record(&place)
        .map(|_| Rotated::Key(place))
        .ok_or_else(|| "it has no generation yet: its host has not deposited one".to_owned())
}

/// Why nobody may come in on this connection, whatever the policies say.
fn shut(connection: &Connection, site: &Site) -> Option<String> {
    let kept_locked = |place: &Place| site.record(place)?.kept_locked.as_ref().map(|why| format!("kept locked: {why}"));
    site.cut_off(connection).or_else(|| places(connection).iter().find_map(kept_locked))
}

/// Which end makes the generations: of two servers that rotate together the first one.
fn maker(connection: &Connection, selection: &Selection<'_>) -> Place {
    server_place(connection, selection).unwrap_or_else(|| places(connection).swap_remove(0))
}

fn rotate(chosen: &[&Connection], reason: &str, site: &Site, asked: &Asked<'_>, context: &Context<'_>) -> Answer {
    let (mut done, mut closed, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let (mut orders, mut due) = (Vec::new(), Vec::new());
    let mut selector = Selector::new(context.policies);
    for connection in chosen {
        let name = connection.name.to_string();
        let selection = selector.select(connection);
        let ordered = rotatable(connection, &selection, site, context.now).and_then(|rotated| {
            let order = context.act(|actor| match &rotated {
                Rotated::Key(place) => context.store.order_rotation(context.now, actor, place, reason),
                Rotated::Gate(place) => {
                    context.store.end_grants(context.now, actor, place, None, reason).map(|_: Vec<_>| ())
                }
            });
            order.map(|()| rotated).map_err(|failure| failure.error)
        });
        match ordered {
            Ok(Rotated::Gate(place)) => {
                orders.extend(revokes(std::slice::from_ref(&place), reason));
                closed.push(name);
            }
            Ok(Rotated::Key(place)) => {
                if !site.grants(&place).is_empty() {
                    orders.extend(revokes(std::slice::from_ref(&place), reason));
                }
                let host = place.server_side.host.clone();
                if is_open(&place, site, context.now) {
                    orders.push(Order::Lock { host: host.clone(), peer: place.peer(), reason: reason.to_owned() });
                }
                // the next one is made by whoever makes them now
                let next = match &selection {
                    Selection::Applies { .. } => Some(maker(connection, &selection).server_side.host),
                    Selection::Conflict { .. } | Selection::None => None,
                };
                due.extend(std::iter::once(host.clone()).chain(next.clone()));
                done.push((name, host, next));
            }
            Err(why) => failed.push((name, why)),
        }
    }
    orders.extend(rounds(due.into_iter(), &format!("a rotation was ordered: {reason}")));
    let exit = match (done.is_empty() && closed.is_empty(), failed.is_empty()) {
        (_, true) => Exit::Done,
        (true, false) => Exit::Failed,
        (false, false) => Exit::Partly,
    };
    let text = if asked.json {
        let failed: Vec<_> =
            failed.iter().map(|(name, why)| serde_json::json!({ "connection": name, "reason": why })).collect();
        let mut names: Vec<_> = done.iter().map(|(name, ..)| name).chain(&closed).collect();
        names.sort();
        let changed = !names.is_empty();
        json_line(&serde_json::json!({ "version": 1, "changed": changed, "connections": names, "failed": failed }))
    } else {
        let line = |(name, host, next): &(String, HostName, Option<HostName>)| {
            let when = |host| if context.agents.connected(host) { "now" } else { "at the next round of its host" };
            match next {
                Some(next) => format!("{name}: a new generation is made {}\n", when(next)),
                None => format!("{name}: its session ends {}\n", when(host)),
            }
        };
        let tiers = closed.iter().map(|name| format!("{name}: its tiers are closed\n"));
        if chosen.is_empty() { "unchanged\n".to_owned() } else { done.iter().map(line).chain(tiers).collect() }
    };
    let mut outcome = with_exit(text, exit);
    for (name, why) in &failed {
        outcome.reply.stderr.push_str(&Failure::new(exit, format!("{name}: {why}")).lines(voice::PROGRAM));
    }
    outcome.orders = orders;
    Ok(outcome)
}
