//! Orders of the bastion to a resident agent.

use wgmfa_core::message::agent::{FromAgent, ToAgent};

use crate::bed::{Bed, text, wait_until, wg_key};

#[test]
fn a_person_hand_shakes_with_the_released_key_and_the_bastion_hears_of_it_at_once() {
    let mut bed = Bed::new(1);
    let secret = wg_key(&["genkey"], None);
    let public = wg_key(&["pubkey"], Some(&secret));
    let out = bed.wg(&["set", &bed.interface, "peer", &public, "allowed-ips", "10.7.9.1/32"]);
    assert!(out.status.success());
    bed.peers[0].public_key = public.parse().unwrap();
    bed.bastion.cover(&bed.peers, 3600);
    let _resident = bed.resident();
    wait_until("a key waits", || bed.is_waiting(0));
    assert_eq!(bed.bastion.open(&bed.peers[0], 60), None);
    bed.bastion.forget_heard();

    let laptop = format!("{}c", bed.interface);
    bed.add_interface(&laptop);
    std::fs::write(bed.path("secret"), &secret).unwrap();
    std::fs::write(bed.path("psk"), bed.key_on(0)).unwrap();
    let server = text(&bed.wg(&["show", &bed.interface, "public-key"]).stdout);
    let (secret, psk) = (bed.path("secret"), bed.path("psk"));
    #[rustfmt::skip]
    let out = bed.wg(&[
        "set", &laptop, "private-key", secret.to_str().unwrap(), "peer", server.trim(), "preshared-key", psk.to_str().unwrap(),
        "endpoint", "127.0.0.1:51820", "allowed-ips", "10.7.9.9/32", "persistent-keepalive", "1",
    ]);
    assert!(out.status.success(), "{out:?}");
    // A handshake outside a report would go unseen until the next minute: the report comes at once.
    wait_until("a report with the handshake", || {
        bed.bastion.heard().iter().any(|heard| match &heard.message {
            FromAgent::Report { handshake_ages, .. } => handshake_ages.iter().any(|age| age.peer == bed.peers[0]),
            _ => false,
        })
    });

    assert_eq!(bed.bastion.lock(&bed.peers[0], "device disabled"), None);
    let shown = text(&bed.wg(&["show", &bed.interface, "dump"]).stdout);
    let line = shown.lines().find(|line| line.starts_with(&public)).unwrap();
    let fields: Vec<_> = line.split('\t').collect();
    assert_eq!(fields[3..5], ["10.7.9.1/32", "0"], "added anew: allowed IPs kept, no handshake");
}

#[test]
fn a_session_is_prolonged_in_place_and_refused_when_it_cannot_be_good() {
    let bed = Bed::new(2);
    let resident = bed.resident();
    wait_until("both keys wait", || bed.is_waiting(0) && bed.is_waiting(1));
    let peer = &bed.peers[0];
    assert_eq!(bed.bastion.open_generation(peer, 9, 60).as_deref(), Some("this server holds generation 1"));
    let set_endpoint = || {
        let key = peer.public_key.to_string();
        let out = bed.wg(&["set", &bed.interface, "peer", &key, "endpoint", "127.0.0.1:9"]);
        assert!(out.status.success(), "{out:?}");
    };
    let has_endpoint = || text(&bed.wg(&["show", &bed.interface, "endpoints"]).stdout).contains("127.0.0.1:9");
    set_endpoint();
    assert_eq!(bed.bastion.open(peer, 60), None);
    assert!(!has_endpoint(), "what a thief left on the peer is gone: it was added anew");
    set_endpoint();
    let released = bed.key_on(0);
    assert_eq!(bed.bastion.open(peer, 600), None, "prolonged before its deadline");
    assert!(has_endpoint(), "the session that runs is not touched");
    assert_eq!(bed.bastion.open(peer, 1), None, "a deadline moves only forwards");
    let status = bed.agent(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let left: Vec<_> =
        status["peers"].as_array().unwrap().iter().filter_map(|peer| peer["seconds_left"].as_u64()).collect();
    assert!(left.len() == 1 && left[0] > 500, "{status}");
    assert_eq!(bed.key_on(0), released);

    bed.bastion.change(peer, |connection| connection.keep_locked = Some("device disabled".to_owned()));
    assert_eq!(bed.bastion.lock(peer, "device disabled"), None);
    assert_ne!(bed.key_on(0), released);
    assert_eq!(bed.bastion.open(peer, 60).as_deref(), Some("locked: device disabled"));

    let mut unknown = bed.peers[1].clone();
    unknown.public_key = wgmfa_core::key::PublicKey::from_bytes([9; 32]);
    let refused = format!("{} has no such peer now", bed.interface);
    assert_eq!(bed.bastion.open_generation(&unknown, 1, 60), Some(refused));
    assert_eq!(bed.bastion.lock(&unknown, "x"), None, "who is not there is cut off already");

    let waiting = bed.key_on(1);
    assert_eq!(resident.terminate(), Some(0));
    assert_eq!(bed.key_on(1), waiting, "it leaves, and the keys stay");
}

#[test]
fn a_round_that_was_ordered_comes_at_once_and_a_rotate_beside_it_asks_for_one() {
    let bed = Bed::new(1);
    let _resident = bed.resident();
    wait_until("a key waits", || bed.is_waiting(0));
    let reports =
        || bed.bastion.heard().iter().filter(|heard| matches!(heard.message, FromAgent::Report { .. })).count();
    let before = reports();
    bed.bastion.send(ToAgent::Round { reason: "test".to_owned() });
    wait_until("a report", || reports() > before);
    let before = reports();
    bed.rotate();
    assert!(reports() > before);
    let out = bed.agent(&["rotate", "--dry-run"]);
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    assert_eq!(bed.bastion.connected(), 1, "the resident agent's connection was used");
    let out = bed.agent(&["run"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).starts_with("wgmfa-agent: error: a resident agent already runs here\n"), "{out:?}");
}

#[test]
fn a_lost_connection_comes_back_by_itself() {
    let mut bed = Bed::new(1);
    let _resident = bed.resident();
    wait_until("a key waits", || bed.is_waiting(0));
    bed.bastion.stop();
    wait_until("it says so", || bed.log().contains("wgmfa-agent: error: "));
    bed.bastion.resume();
    wait_until("it is back", || bed.bastion.connected() == 2);
    wait_until("it says so", || bed.log().contains(": reached again\n"));
    assert_eq!(bed.bastion.open(&bed.peers[0], 60), None);
}
