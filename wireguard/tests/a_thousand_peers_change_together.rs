//! Batches: every peer takes its own key and keeps what it had, as `wg` sees it from outside.

mod lab;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lab::{Lab, Side};
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_wireguard::{EndpointRule, readd, set_preshared_key};

fn key(kind: u8, number: u16) -> [u8; 32] {
    let mut bytes = [kind; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn changes(kind: u8, numbers: std::ops::Range<u16>) -> Vec<(PublicKey, PresharedKey)> {
    let change = |n| (PublicKey::from_bytes(key(1, n)), PresharedKey::from_bytes(key(kind, n)).unwrap());
    numbers.map(change).collect()
}

fn add_peers(side: &Side, numbers: std::ops::Range<u16>) {
    let mut text = String::new();
    for n in numbers {
        let [high, low] = n.to_be_bytes();
        let peer = PublicKey::from_bytes(key(1, n));
        let endpoint = format!("192.0.2.{}:{}", low, 1000 + n);
        let more = if n % 2 == 0 { "PersistentKeepalive = 25\n" } else { "" };
        writeln!(
            text,
            "[Peer]\nPublicKey = {peer}\nEndpoint = {endpoint}\nAllowedIPs = 10.8.{high}.{low}/32, fd88::{n:x}/128\n{more}"
        )
        .unwrap();
    }
    side.wg(&["addconf", side.name.as_str(), "/dev/stdin"], &text);
}

/// Peers by public key: preshared key, endpoint, allowed IPs, keepalive.
fn peers(side: &Side) -> BTreeMap<String, [String; 4]> {
    let of_line = |line: Vec<String>| {
        let mut allowed_ips: Vec<_> = line[3].split(',').collect();
        allowed_ips.sort_unstable();
        (line[0].clone(), [line[1].clone(), line[2].clone(), allowed_ips.join(","), line[7].clone()])
    };
    side.dump().into_iter().skip(1).map(of_line).collect()
}

#[test]
fn a_thousand_peers_take_their_keys_and_keep_the_rest() {
    let lab = Lab::up();
    let server = &lab.server;
    add_peers(server, 0..1000);
    let before = peers(server);
    assert_eq!(before.len(), 1001);

    let expect = |kind: u8, endpoint: Option<&str>| {
        let after = peers(server);
        assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        assert_eq!(after[&lab.client.public_key.to_string()], before[&lab.client.public_key.to_string()]);
        for (peer, preshared_key) in changes(kind, 0..1000) {
            let (old, new) = (&before[&peer.to_string()], &after[&peer.to_string()]);
            assert_eq!(new[0], *preshared_key.expose_base64());
            assert_eq!(new[1], endpoint.unwrap_or(&old[1]));
            assert_eq!(new[2..], old[2..]);
        }
    };
    server.inside(|| set_preshared_key(&server.name, &changes(2, 0..1000))).unwrap();
    expect(2, None);
    server.inside(|| readd(&server.name, &changes(3, 0..1000), EndpointRule::Keep)).unwrap();
    expect(3, None);
    server.inside(|| readd(&server.name, &changes(4, 0..1000), EndpointRule::Drop)).unwrap();
    expect(4, Some("(none)"));
}

#[test]
fn a_peer_with_a_thousand_allowed_ips_keeps_them_all() {
    let lab = Lab::up();
    let server = &lab.server;
    let peer = PublicKey::from_bytes(key(1, 1));
    let ips: Vec<_> = (0..1000u16).map(|n| format!("10.{}.{}.0/24", 100 + n / 256, n % 256)).collect();
    server.add_peer(&peer, &PresharedKey::from_bytes([5; 32]).unwrap(), &ips.join(","), &[]);
    let before = peers(server);
    server.inside(|| readd(&server.name, &changes(2, 1..2), EndpointRule::Drop)).unwrap();
    let after = peers(server);
    assert_eq!(after[&peer.to_string()][2], before[&peer.to_string()][2]);
    assert_eq!(after[&peer.to_string()][2].split(',').count(), 1000);
}
