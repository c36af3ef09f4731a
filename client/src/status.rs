//! `wgmfa status`: each connection and what is left. Needs no root: it reads what `sync` left behind.

use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use wgmfa_core::boottime::{BootId, Boottime};
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::interval::Interval;
use wgmfa_core::key::PublicKey;
use wgmfa_core::message::VERSION;
use wgmfa_core::message::sync::PolicyRef;
use wgmfa_core::name::{InterfaceName, TierName};
use wgmfa_core::state::{Colour, KeyState, received};
use wgmfa_wireguard::{Interface, read};

use crate::commands::Status;
use crate::config::Config;
use crate::opened::folder_of_the_person;
use crate::order::short;
use crate::person::Person;
use crate::sessions::{FOLDER, RememberedTier, Sessions, all};
use crate::voice::foreign;
use crate::warned::Warned;
use crate::{clock, voice};

/// `--json`
#[derive(Debug, Serialize)]
struct Table {
    version: u32,
    connections: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    connection: String,
    interface: InterfaceName,
    public_key: PublicKey,
    peer_public_key: PublicKey,
    policy: PolicyRef,
    /// None: only a tier is open.
    generation: Option<u64>,
    /// The tier that is open.
    tier: Option<TierName>,
    state: KeyState,
    /// Why, where a person would ask.
    reason: Option<String>,
    seconds_left: u64,
    deadline: Option<Timestamp>,
    /// None: there was none, or the caller may not look.
    latest_handshake: Option<Timestamp>,
    /// Tells this session from the others of its connection.
    #[serde(skip)]
    session: String,
}

/// The command.
pub fn status(options: &Status, config: Option<&Path>) -> Result<Exit, Failure> {
    let config = Config::load(config, Person::find().as_ref())?;
    let warn_before = options.warn_before.or(config.warn_before).map_or(0, Interval::as_seconds);
    let boot_id = clock::boot_id().map_err(|error| Failure::new(Exit::Failed, format!("boot id: {error}")))?;
    let now = clock::boottime();
    // an interface that is down locks nobody out
    let mut here = all(Path::new(FOLDER));
    here.extend(folder_of_the_person().iter().flat_map(|folder| all(folder)));
    here.retain(|sessions| exists(&sessions.interface));
    let rows = here.iter().flat_map(|sessions| rows(sessions, read(&sessions.interface).ok().as_ref(), &boot_id, now));
    let rows = once_each(rows.collect());
    if options.once {
        return once(&rows, if warn_before == 0 { WARN_BEFORE } else { warn_before });
    }
    let late = rows.iter().any(|row| row.seconds_left <= warn_before);
    if options.json {
        voice::json(&Table { version: VERSION, connections: rows });
    } else if rows.is_empty() {
        voice::line("no login yet since this machine was started: wgmfa sync");
    } else {
        table(&rows).iter().for_each(|line| voice::line(line));
    }
    Ok(if late { Exit::LoginNeeded } else { Exit::Done })
}

/// How long before the end of a session `--once` warns when nobody says so, in seconds.
const WARN_BEFORE: u64 = 600;

/// Only what ends soon, or has ended, and was not shown before.
fn once(rows: &[Row], warn_before: u64) -> Result<Exit, Failure> {
    let warned = Warned::read()?;
    let late: Vec<_> = rows.iter().filter(|row| row.seconds_left <= warn_before).collect();
    let fresh: Vec<_> = late.iter().filter(|row| !warned.has(&row.session)).collect();
    if fresh.is_empty() {
        return Ok(Exit::Done);
    }
    for row in &fresh {
        let what = match row.seconds_left {
            0 => "login needed: wgmfa sync".to_owned(),
            seconds => format!("{}, then: wgmfa sync", clock::left_until(seconds)),
        };
        voice::line(&format!("{}: {what}", short(&row.connection)));
    }
    let shown: Vec<String> = late.iter().map(|row| row.session.clone()).collect();
    warned.remember(&shown)?;
    Ok(Exit::LoginNeeded)
}

fn exists(interface: &InterfaceName) -> bool {
    Path::new("/sys/class/net").join(interface.as_str()).exists()
}

fn rows(sessions: &Sessions, interface: Option<&Interface>, boot_id: &BootId, now: Boottime) -> Vec<Row> {
    let this_boot = sessions.boot_id == *boot_id;
    let row = |known: &crate::sessions::Remembered| {
        let seconds_left = if this_boot { known.seconds_left(now) } else { 0 };
        let latest_handshake = latest_handshake(interface, &known.peer_public_key);
        let proved = latest_handshake.is_some_and(|latest| known.handshake_before != Some(latest.as_second()));
        let state = received(seconds_left, proved);
        Row {
            connection: foreign(&known.session.connection),
            interface: sessions.interface.clone(),
            public_key: sessions.public_key,
            peer_public_key: known.peer_public_key,
            policy: PolicyRef {
                description: foreign(&known.session.policy.description),
                ..known.session.policy.clone()
            },
            generation: Some(known.session.generation),
            tier: known.session.tier.clone(),
            state,
            reason: match state {
                KeyState::Expired => Some(LOGIN.to_owned()),
                KeyState::MatchPending if interface.is_none() => Some("only root can see handshakes".to_owned()),
                KeyState::MatchPending => Some("not yet seen to match".to_owned()),
                _ => None,
            },
            seconds_left,
            deadline: (seconds_left > 0).then(|| clock::timestamp_in(seconds_left)),
            session: format!("{} {} {}", known.session.connection, sessions.boot_id.0, known.received.as_millis()),
            latest_handshake,
        }
    };
    let tier = |known: &RememberedTier| {
        let opened = &known.opened;
        let seconds_left = if this_boot { known.seconds_left(now) } else { 0 };
        let state = opened.standing(seconds_left);
        Row {
            connection: foreign(&opened.connection),
            interface: sessions.interface.clone(),
            public_key: sessions.public_key,
            peer_public_key: known.peer_public_key,
            policy: PolicyRef { description: foreign(&opened.policy.description), ..opened.policy.clone() },
            generation: None,
            tier: Some(opened.tier.clone()),
            state,
            reason: match state {
                KeyState::Expired => Some(LOGIN.to_owned()),
                _ => opened.waits.as_deref().map(foreign),
            },
            seconds_left,
            deadline: (seconds_left > 0).then(|| clock::timestamp_in(seconds_left)),
            session: format!(
                "{} {} {} {}",
                opened.connection,
                opened.tier,
                sessions.boot_id.0,
                known.received.as_millis()
            ),
            latest_handshake: latest_handshake(interface, &known.peer_public_key),
        }
    };
    sessions.connections.iter().map(row).chain(sessions.tiers.iter().map(tier)).collect()
}

/// Why a connection has expired.
const LOGIN: &str = "a login is needed";

fn latest_handshake(interface: Option<&Interface>, peer: &PublicKey) -> Option<Timestamp> {
    let latest = interface?.peer(peer)?.latest_handshake?;
    Timestamp::from_second(Timestamp::try_from(latest).ok()?.as_second()).ok()
}

/// A tier that was opened by a login with rights and by one without stands there twice: what is left longer holds.
fn once_each(rows: Vec<Row>) -> Vec<Row> {
    let mut kept: Vec<Row> = Vec::new();
    for row in rows {
        let same = |one: &Row| {
            (&one.interface, &one.peer_public_key, &one.tier, one.generation)
                == (&row.interface, &row.peer_public_key, &row.tier, row.generation)
        };
        match kept.iter_mut().find(|one| same(one)) {
            Some(one) if one.seconds_left < row.seconds_left => *one = row,
            Some(_) => {}
            None => kept.push(row),
        }
    }
    kept
}

/// Columns under a heading.
fn table(rows: &[Row]) -> Vec<String> {
    let colour = voice::colour();
    let cells = |row: &Row| {
        let left = match row.seconds_left {
            0 => "login needed: wgmfa sync".to_owned(),
            seconds => clock::left_until(seconds),
        };
        let handshake = row.latest_handshake.map_or("-".to_owned(), |latest| {
            let now = Timestamp::try_from(SystemTime::now()).unwrap_or(latest);
            format!("{} s ago", now.duration_since(latest).as_secs().max(0))
        });
        let tier = row.tier.as_ref().map_or(String::new(), |tier| format!(", tier {tier}"));
        let policy = format!("{} {}{tier}", row.policy.ordinal, row.policy.description);
        [short(&row.connection).to_owned(), row.interface.to_string(), row.state.to_string(), left, handshake, policy]
    };
    let heading = ["CONNECTION", "INTERFACE", "STATE", "LEFT", "HANDSHAKE", "POLICY"].map(str::to_owned);
    let lines: Vec<[String; 6]> = std::iter::once(heading).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |(number, cells): (usize, &[String; 6])| {
        let cell = |column: usize| format!("{:width$}", cells[column], width = widths[column]);
        let mut columns: Vec<String> = (0..6).map(cell).collect();
        if colour && number > 0 {
            columns[2] = paint(&columns[2], rows[number - 1].state.colour());
        }
        columns.join("  ").trim_end().to_owned()
    };
    lines.iter().enumerate().map(line).collect()
}

/// Text in a colour of the terminal (ECMA-48 SGR).
fn paint(text: &str, colour: Colour) -> String {
    let code = match colour {
        Colour::Red => 31,
        Colour::Yellow => 33,
        Colour::Green => 32,
        Colour::Black => return text.to_owned(),
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Session;

    fn sessions() -> Sessions {
        let mut sessions =
            Sessions::none(BootId("this".into()), "wg0".parse().unwrap(), PublicKey::from_bytes([1; 32]));
        for (number, seconds_left) in [(2, 3600), (3, 10)] {
            let policy = PolicyRef { ordinal: 101, description: "Prod User Devices".into(), mfa: true };
            let session = Session {
                connection: format!("gw{number}/wg:me"),
                generation: 7,
                policy,
                seconds_left,
                not_prolonged: None,
                tier: None,
            };
            sessions.remember(PublicKey::from_bytes([number; 32]), Some(&session), Boottime::from_millis(0), None);
        }
        sessions
    }

    #[test]
    fn what_is_left_is_counted_in_boot_time() {
        let boot = BootId("this".into());
        let rows = rows(&sessions(), None, &boot, Boottime::from_millis(60_000));
        let left: Vec<_> = rows.iter().map(|row| (row.state, row.seconds_left)).collect();
        assert_eq!(left, [(KeyState::MatchPending, 3540), (KeyState::Expired, 0)]);
        assert!(rows[0].deadline.is_some() && rows[1].deadline.is_none());
    }

    #[test]
    fn after_a_reboot_everything_has_expired() {
        let rows = rows(&sessions(), None, &BootId("next".into()), Boottime::from_millis(0));
        assert!(rows.iter().all(|row| row.state == KeyState::Expired));
    }

    #[test]
    fn the_table_has_a_heading_and_a_line_for_each_connection() {
        let rows = rows(&sessions(), None, &BootId("this".into()), Boottime::from_millis(60_000));
        let table = table(&rows);
        assert!(table[0].starts_with("CONNECTION  INTERFACE  STATE          LEFT"), "{table:?}");
        assert!(table[1].starts_with("gw2/wg      wg0        Match Pending  59 min left (until "), "{table:?}");
        assert!(table[2].starts_with("gw3/wg      wg0        Expired        login needed: wgmfa sync"), "{table:?}");
        assert!(table[2].ends_with("-          101 Prod User Devices"), "{table:?}");
    }
}
