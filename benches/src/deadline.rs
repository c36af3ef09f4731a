//! Sessions that all end at one moment, as if many people had logged in at one moment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use serde_json::Value;

use crate::site::Site;

/// Releases every waiting key of the store, for so long from now; how many there were.
///
/// # Panics
/// The store does not take it.
pub fn release_all(store: &Connection, length: Duration) -> usize {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let millis = |time: Duration| i64::try_from(time.as_millis()).expect("not so soon");
    let sql = "UPDATE generations SET phase = 'released', released_at = ?1, renewed_at = ?1, released_to = 'bench',
                   deadline = ?2 WHERE phase = 'applied'";
    store.execute(sql, (millis(now), millis(now + length))).expect("the store takes it")
}

/// The last of the deadlines that the gateway's agent remembers, and how many it has. It counts whole seconds from when
/// it has heard of them, in boot time.
///
/// # Panics
/// There is no state.
pub fn agents_deadline(site: &Site) -> (SystemTime, usize) {
    let text = std::fs::read_to_string(site.gateway.machine.path("agent-state/state.json")).expect("it has a state");
    let state: Value = serde_json::from_str(&text).expect("it is JSON");
    let uptime = std::fs::read_to_string("/proc/uptime").expect("Linux has it");
    let uptime: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).expect("seconds since boot");
    let booted = SystemTime::now() - Duration::from_secs_f64(uptime);
    let peers = state["peers"].as_array().expect("a list");
    let open: Vec<u64> = peers.iter().filter_map(|peer| find(peer, "deadline")).collect();
    let last = open.iter().max().copied().unwrap_or_default();
    (booted + Duration::from_millis(last), open.len())
}

/// A number by its name, at any depth.
fn find(value: &Value, name: &str) -> Option<u64> {
    let object = value.as_object()?;
    object.get(name).and_then(Value::as_u64).or_else(|| object.values().find_map(|inner| find(inner, name)))
}
