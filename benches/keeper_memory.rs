//! How much memory the keeper takes with 100,000 connections: as it stands when agents have reported and administrators have
//! looked at everything, and at its peak.

use std::process::ExitCode;

use rusqlite::Connection;
use wgmfa_benches::figure::{Bound, Figure, Report, Unit};
use wgmfa_benches::process::{memory, peak_memory};
use wgmfa_benches::site::{Site, strangers};

const HOSTS: usize = 100;

/// Peers of each host.
const PEERS: usize = 1000;

/// 300 MiB.
const MOST: f64 = 300.0 * 1024.0;

fn main() -> ExitCode {
    let own = strangers(PEERS);
    let mut site = Site::new(&own);
    site.bastion.add_user("justin");
    site.bastion.stop();
    {
        let store = Connection::open(site.bastion.folder().join("state/wgmfa.db")).expect("the bastion made it");
        store.execute_batch("BEGIN").expect("a transaction");
        let mut devices = own;
        for host in 1..HOSTS {
            let peers = strangers(PEERS);
            furnish(&store, host, &peers.iter().map(|peer| peer.public.as_str()).collect::<Vec<_>>());
            devices.extend(peers);
        }
        let sql = "INSERT INTO devices (name, owner, public_key, added_at) VALUES ('device' || ?1, 'justin', ?2, 0)";
        let mut insert = store.prepare(sql).expect("the schema has them");
        for (index, keys) in devices.iter().enumerate() {
            insert.execute((index, &keys.public)).expect("each is new");
        }
        store.execute_batch("COMMIT").expect("the disk has room");
    }
    site.bastion.policy("102-others.toml", &wgmfa_tests::lab::policy("1h", "gw-*/devices"));
    site.bastion.start();
    for _ in 0..3 {
        site.gateway.agent(&["rotate"]).ok();
    }
    let mut report = Report::default();
    let mut tell = |name, kibibytes, bound| {
        report.tell(&Figure { name, unit: Unit::Kibibytes, samples: vec![kibibytes], against: None, bound });
    };
    let served = memory(&[site.keeper()]);
    tell("memory of the keeper with 100,000 connections, after reports", served, Bound::Median(MOST));
    site.bastion.admin(&["key", "list", "device7"]).ok();
    site.bastion.admin(&["policy", "explain", "device7"]).ok();
    let looked = memory(&[site.keeper()]);
    tell("after an administrator has looked at them", looked, Bound::Median(MOST));
    tell("its peak meanwhile", peak_memory(site.keeper()), Bound::None);
    report.exit()
}

/// A host whose interface has these peers, each with a key that waits.
fn furnish(store: &Connection, host: usize, peers: &[&str]) {
    let name = format!("gw-{host}");
    let run = |sql: &str, parameters: &[&dyn rusqlite::ToSql]| {
        store.execute(sql, parameters).unwrap_or_else(|error| panic!("{sql}: {error}"));
    };
    run("INSERT INTO hosts (name, public_key, added_at) VALUES (?1, 'key of ' || ?1, 0)", &[&name]);
    let fingerprint = "00112233445566778899aabbccddeeff";
    let reported: Vec<_> = peers
        .iter()
        .map(|key| {
            serde_json::json!({"public_key": key, "allowed_ips": ["10.77.1.1/32", "fd00::1/128"],
                "has_preshared_key": true, "fingerprint": fingerprint})
        })
        .collect();
    let own = &strangers(1)[0].public;
    let reported = serde_json::json!(reported).to_string();
    run(
        "INSERT INTO interfaces (host, name, public_key, present, peers) VALUES (?1, 'devices', ?2, 1, ?3)",
        &[&name, own, &reported],
    );
    for peer in peers {
        run("INSERT INTO relations (host, interface, peer) VALUES (?1, 'devices', ?2)", &[&name, peer]);
        run("INSERT INTO places (host, interface, peer, highest) VALUES (?1, 'devices', ?2, 2)", &[&name, peer]);
        let place = store.last_insert_rowid();
        let sql = "INSERT INTO generations (place, generation, phase, sealed, fingerprint, deposited_at, applied_at)
                       VALUES (?1, 2, 'applied', x'00', ?2, 0, 0)";
        run(sql, &[&place, &fingerprint]);
    }
}
