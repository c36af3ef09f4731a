//! One policy file: every row of its key table.

use std::collections::HashSet;

use crate::diagnostic::{Fault, Faults};
use crate::document::{Document, Placed};
use crate::interval::Interval;
use crate::name::TierName;
use crate::policy::{Covers, Enforce, Ordinal, Pattern, Policy};
use crate::tier;

/// Shortest rotation interval, in seconds.
const SHORTEST_ROTATION: u64 = 30;

/// Shortest idle timeout, in seconds: a tunnel in use shakes hands every two minutes (WireGuard, section 6.1,
/// REKEY_AFTER_TIME), and one may get lost.
const SHORTEST_IDLE: u64 = 300;

/// Longest description, in characters: it stands in messages, lists and the audit log.
const LONGEST_DESCRIPTION: usize = 200;

/// The number in front of a file's name: `99-mail.toml` has 99. Folders in front do not matter.
pub(super) fn ordinal(file: &str) -> Result<Ordinal, Fault> {
    let name = file.rsplit('/').next().unwrap_or(file);
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        let message = "the name of a policy file begins with its ordinal, as 101-name.toml";
        return Err(Fault::of_file(file, message));
    }
    name[..digits].parse().map(Ordinal).map_err(|_| Fault::of_file(file, "the ordinal is too large"))
}

/// Parses one file, all of it even when some is wrong.
pub(super) fn parse(file: &str, ordinal: Ordinal, text: &str) -> Result<Policy, Faults> {
    let mut document = Document::parse(file, text)?;
    let keys = &mut document;
    let description = description(keys);
    let rotation_interval = at_least(keys, "rotation-interval", SHORTEST_ROTATION);
    let rotation_interval = keys.required("rotation-interval", rotation_interval);
    let covers = covers(keys);
    let unmonitored = keys.boolean("unmonitored").is_some_and(|unmonitored| unmonitored.value);
    let idle_timeout = at_least(keys, "idle-timeout", SHORTEST_IDLE);
    let enforce = enforce(keys, matches!(covers, Some(Covers::Together { .. })));
    document.finish()?;
    let complete = "each part that is missing was reported as a fault";
    Ok(Policy {
        ordinal,
        file: file.to_owned(),
        description: description.expect(complete),
        rotation_interval: rotation_interval.expect(complete),
        covers: covers.expect(complete),
        unmonitored,
        idle_timeout,
        enforce: enforce.expect(complete),
    })
}

fn description(keys: &mut Document) -> Option<String> {
    let found = keys.string("description");
    let Placed { value, place } = keys.required("description", found)?;
    let fits = !value.trim().is_empty() && value.chars().count() <= LONGEST_DESCRIPTION;
    if !fits || crate::exit::sanitise(&value) != value || value.contains(['\n', '\t']) {
        keys.fault(&place, format!("description must be one line of at most {LONGEST_DESCRIPTION} characters"));
        return None;
    }
    Some(value)
}

fn at_least(keys: &mut Document, key: &str, shortest: u64) -> Option<Interval> {
    let Placed { value, place } = keys.parsed::<Interval>(key)?;
    if value.as_seconds() < shortest {
        keys.fault(&place, format!("{key} must be at least {}", Interval::from_seconds(shortest)));
        return None;
    }
    Some(value)
}

fn covers(keys: &mut Document) -> Option<Covers> {
    let found = keys.boolean("mfa");
    let mfa = keys.required("mfa", found);
    let server_peers = patterns(keys, "server-peers");
    let client_peers = patterns(keys, "client-peers");
    let peers = patterns(keys, "peers");
    let mfa = mfa?.value;
    let out_of_place =
        [("server-peers", &server_peers, !mfa), ("client-peers", &client_peers, !mfa), ("peers", &peers, mfa)];
    for (key, list, wrong) in out_of_place {
        if let (Some(list), true) = (list, wrong) {
            let instead = if mfa { "server-peers or client-peers" } else { "peers" };
            keys.fault(&list.place, format!("{key} does not go with mfa = {mfa}, use {instead}"));
        }
    }
    if !mfa {
        return Some(Covers::Together { peers: plain(peers) });
    }
    let servers = plain(server_peers);
    let both: HashSet<&Pattern> = servers.iter().collect();
    for client in client_peers.iter().flat_map(|list| &list.value) {
        if both.contains(&client.value) {
            keys.fault(&client.place, format!("{} is named in server-peers and in client-peers", client.value));
        }
    }
    Some(Covers::Mfa { server_peers: servers, client_peers: plain(client_peers) })
}

fn patterns(keys: &mut Document, key: &str) -> Option<Placed<Vec<Placed<Pattern>>>> {
    let Placed { value: list, place } = keys.strings(key)?;
    let mut patterns = Vec::with_capacity(list.len());
    for Placed { value, place } in list {
        match value.parse() {
            Ok(value) => patterns.push(Placed { value, place }),
            Err(error) => keys.fault(&place, format!("{key}: {error}")),
        }
    }
    Some(Placed { value: patterns, place })
}

fn plain(list: Option<Placed<Vec<Placed<Pattern>>>>) -> Vec<Pattern> {
    list.into_iter().flat_map(|list| list.value).map(|pattern| pattern.value).collect()
}

fn enforce(keys: &mut Document, together: bool) -> Option<Enforce> {
    let ways = keys.strings("enforce");
    let tier = keys.parsed::<TierName>("tier");
    if let Some(tier) = tier.iter().find(|tier| tier::is_open(&tier.value)) {
        keys.fault(&tier.place, format!("tier {} is open without a code, name another one", tier.value));
    }
    let (mut preshared_key, mut firewall) = (ways.is_none(), false);
    for Placed { value, place } in ways.iter().flat_map(|ways| &ways.value) {
        match value.as_str() {
            "preshared-key" => preshared_key = true,
            "firewall" if together => {
                keys.fault(
                    place,
                    "enforce by the firewall does not go with mfa = false: a tier opens after a person's code",
                );
                firewall = true;
            }
            "firewall" => firewall = true,
            _ => keys.fault(place, "enforce is a list of preshared-key and firewall"),
        }
    }
    match (preshared_key, firewall, tier) {
        (true, false, None) => Some(Enforce::PresharedKey),
        (false, true, Some(tier)) => Some(Enforce::Firewall(tier.value)),
        (true, true, Some(tier)) => Some(Enforce::Both(tier.value)),
        (_, true, None) => keys.required("tier", None),
        (_, false, Some(tier)) => {
            keys.fault(&tier.place, "tier is for policies that enforce by the firewall");
            None
        }
        (false, false, None) => {
            // an unknown way has been reported at its place
            if let Some(ways) = ways.filter(|ways| ways.value.is_empty()) {
                keys.fault(&ways.place, "enforce must name preshared-key, firewall or both");
            }
            None
        }
    }
}
