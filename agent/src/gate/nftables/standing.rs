//! What stands in the kernel: the handles of the table and of everything in it. A handle is never given twice, and what
//! it stands for is not changed in place, so equal handles are an equal gate.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::CStr;
use std::io;
use std::time::Duration;

use netlink_bindings::nftables::{OpGetchainDump, OpGetruleDump, OpGetsetDump, OpGetsetelemDump, OpGettableDump};
use wgmfa_core::gate::ruleset::TABLE;

use super::element::Key;
use super::message;
use crate::gate::netlink::Socket;

/// A grant may be this far from its deadline in the kernel's clock.
const TOLERANCE: Duration = Duration::from_secs(1);

/// The table as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Handle and flags: a table may be made dormant.
    table: (u64, u32),
    /// By name: handle and policy.
    chains: BTreeMap<String, (u64, Option<u32>)>,
    /// Chain and handle, in their order.
    rules: Vec<(String, u64)>,
    sets: BTreeMap<String, u64>,
    /// Who is always let through.
    free: BTreeMap<String, HashSet<Key>>,
}

impl Standing {
    /// Reads what stands.
    pub fn read(socket: &mut Socket) -> Result<Self, String> {
        Self::list(socket)
            .map_err(|error| format!("nftables: {error}"))?
            .ok_or_else(|| "table inet wgmfa is gone".to_owned())
    }

    fn list(socket: &mut Socket) -> io::Result<Option<Self>> {
        let header = message::header(message::INET);
        let tables = socket.dump(message::GET_TABLE, |bytes| drop(OpGettableDump::encode_request(bytes, &header)))?;
        let table = tables.iter().find_map(|payload| {
            let (_, table) = OpGettableDump::decode_request(payload);
            is_ours(table.get_name().ok()?).then_some((table.get_handle().ok()?, table.get_flags().unwrap_or_default()))
        });
        let Some(table) = table else { return Ok(None) };
        let chains = socket.dump(message::GET_CHAIN, |bytes| drop(OpGetchainDump::encode_request(bytes, &header)))?;
        let chains = chains.iter().filter_map(|payload| {
            let (_, chain) = OpGetchainDump::decode_request(payload);
            let name = is_ours(chain.get_table().ok()?).then(|| chain.get_name().ok())??;
            Some((text(name), (chain.get_handle().ok()?, chain.get_policy().ok())))
        });
        let chains = chains.collect();
        let rules = socket.dump(message::GET_RULE, |bytes| {
            OpGetruleDump::encode_request(bytes, &header).push_table_bytes(TABLE.as_bytes());
        })?;
        let rules = rules.iter().filter_map(|payload| {
            let (_, rule) = OpGetruleDump::decode_request(payload);
            let chain = is_ours(rule.get_table().ok()?).then(|| rule.get_chain().ok())??;
            Some((text(chain), rule.get_handle().ok()?))
        });
        let rules = rules.collect();
        let sets = socket.dump(message::GET_SET, |bytes| {
            OpGetsetDump::encode_request(bytes, &header).push_table_bytes(TABLE.as_bytes());
        })?;
        let sets = sets.iter().filter_map(|payload| {
            let (_, set) = OpGetsetDump::decode_request(payload);
            let name = is_ours(set.get_table().ok()?).then(|| set.get_name().ok())??;
            Some((text(name), set.get_handle().ok()?))
        });
        let sets: BTreeMap<String, u64> = sets.collect();
        let mut free = BTreeMap::new();
        for set in sets.keys().filter(|name| name.starts_with("free_")) {
            free.insert(set.clone(), elements(socket, set)?.into_keys().collect());
        }
        Ok(Some(Self { table, chains, rules, sets, free }))
    }

    /// The sets of tiers.
    pub fn tier_sets(&self) -> impl Iterator<Item = &str> {
        self.sets.keys().map(String::as_str).filter(|name| name.starts_with("tier_"))
    }

    pub fn has_set(&self, name: &str) -> bool {
        self.sets.contains_key(name)
    }

    /// The first difference between what was made and what is found, in words.
    pub fn compare(&self, found: &Self) -> Result<(), String> {
        let differs = [
            (self.table != found.table, "table inet wgmfa was made anew or put to sleep"),
            (self.chains != found.chains, "chains of table inet wgmfa were changed"),
            (self.rules != found.rules, "rules of table inet wgmfa were changed"),
            (self.sets != found.sets, "sets of table inet wgmfa were changed"),
            (self.free != found.free, "somebody changed who is free in table inet wgmfa"),
        ];
        differs.into_iter().find(|(differs, _)| *differs).map_or(Ok(()), |(_, what)| Err(what.to_owned()))
    }
}

/// Whether exactly those are in a set who should be, for as long as they should be.
pub fn compare_elements(
    socket: &mut Socket,
    set: &str,
    wanted: &HashMap<Key, (Duration, Duration)>,
    now: Duration,
) -> Result<(), String> {
    let found = elements(socket, set).map_err(|error| format!("nftables: {set}: {error}"))?;
    let missing = wanted.iter().any(|(key, (end, _))| *end > now + TOLERANCE && !found.contains_key(key));
    if missing {
        return Err(format!("a grant was taken out of {set}"));
    }
    for (key, left) in &found {
        let Some((_, end)) = wanted.get(key) else {
            return Err(format!("somebody was let into {set} without a grant"));
        };
        if left.is_none_or(|left| now + left > *end + TOLERANCE) {
            return Err(format!("a grant in {set} was made longer"));
        }
    }
    Ok(())
}

/// Who is in a set, and how much longer; none: without an end.
fn elements(socket: &mut Socket, set: &str) -> io::Result<HashMap<Key, Option<Duration>>> {
    let listed = socket.dump(message::GET_ELEMENT, |bytes| {
        let request = OpGetsetelemDump::encode_request(bytes, &message::header(message::INET));
        request.push_table_bytes(TABLE.as_bytes()).push_set_bytes(set.as_bytes());
    })?;
    let mut found = HashMap::new();
    for payload in &listed {
        let (_, list) = OpGetsetelemDump::decode_request(payload);
        let Ok(elements) = list.get_elements() else { continue };
        for element in elements.get_elem() {
            let Some(key) = Key::decode(&element) else { continue };
            let left = element.get_timeout().ok().and_then(|_| element.get_expiration().ok());
            found.insert(key, left.map(|millis| Duration::from_millis(u64::from_be(millis))));
        }
    }
    Ok(found)
}

fn is_ours(table: &CStr) -> bool {
    table.to_bytes() == TABLE.as_bytes()
}

fn text(name: &CStr) -> String {
    name.to_string_lossy().into_owned()
}
