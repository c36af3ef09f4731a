//! How long one `wgmfa-agent rotate` takes for a thousand peers, with everything on disk: the keeper's store, the agent's
//! state and the lock keys in the interface's configuration file.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use wgmfa_benches::figure::{Bound, Figure, Report, Unit};
use wgmfa_benches::site::Site;
use wgmfa_tests::machine::write_private;
use wgmfa_tests::tunnel::Keys;

const PEERS: usize = 1000;

/// Rounds after the first one.
const ROUNDS: u64 = 7;

fn main() -> ExitCode {
    let devices: Vec<Keys> = (0..PEERS).map(|_| Keys::generate()).collect();
    let site = Site::new(&devices);
    site.bastion.add_user("justin");
    for (index, keys) in devices.iter().enumerate() {
        site.bastion.add_device(&format!("device{index}"), "justin", &keys.public);
    }
    let file = write_file(&site, &devices);
    let first = rotate(&site, 1);
    let text = std::fs::read_to_string(&file).expect("it was written");
    assert_eq!(text.matches("PresharedKey").count(), PEERS, "each peer has a lock key in the file");
    let later = (2..2 + ROUNDS).map(|generation| {
        site.bastion.admin(&["key", "rotate", "--all", "--reason", "bench"]).ok();
        rotate(&site, generation)
    });
    let later: Vec<f64> = later.collect();
    let mut report = Report::default();
    let bound = Bound::Median(2000.0);
    let mut tell = |name, samples| {
        report.tell(&Figure { name, unit: Unit::Milliseconds, samples, against: None, bound });
    };
    tell("wgmfa-agent rotate of 1,000 peers", later);
    tell("the first one, which also locks them", vec![first]);
    report.exit()
}

/// The configuration file of the gateway's interface, as wg-quick(8) reads it.
fn write_file(site: &Site, devices: &[Keys]) -> PathBuf {
    let mut text = format!("[Interface]\nPrivateKey = {}\n", site.gateway.tunnel.keys.private);
    for keys in devices {
        text += &format!("\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.77.0.0/32\n", keys.public);
    }
    let file = site.gateway.machine.path(&format!("wireguard/{}.conf", site.gateway.tunnel.name));
    write_private(&file, &text);
    file
}

/// One round, in milliseconds; every peer must have got this generation, and a key of its own.
fn rotate(site: &Site, generation: u64) -> f64 {
    let before = peers(site);
    let since = Instant::now();
    site.gateway.agent(&["rotate"]).ok();
    let took = since.elapsed();
    let after = peers(site);
    assert_eq!(after.difference(&before).count(), PEERS, "each peer has a new key");
    let rows = site.bastion.keys();
    let done = rows.iter().filter(|row| row["generation"] == generation && row["released_at"].is_null()).count();
    assert_eq!(done, PEERS, "generation {generation} is applied everywhere");
    took.as_secs_f64() * 1000.0
}

/// Every peer with its preshared key.
fn peers(site: &Site) -> BTreeSet<String> {
    let tunnel = &site.gateway.tunnel;
    let shown = site.gateway.machine.run("wg", &["show", &tunnel.name, "preshared-keys"]).ok().stdout;
    shown.lines().map(str::to_owned).collect()
}
