//! Inside a tunnel the source address is bound to the peer's key; nowhere else.

use crate::a_code_opens_the_gate::{held_back, untimed};
use crate::bed::{Bed, wait_until};
use crate::gates::CODE;
use crate::person::{GATEWAY, PROTECTED};

#[test]
fn another_ones_address_is_good_for_nothing() {
    let bed = Bed::with_gate(0);
    let (justin, mallory) = (held_back(&bed, 1, "justins-laptop"), held_back(&bed, 2, "mallorys-laptop"));
    let _resident = bed.resident();
    assert_eq!(justin.talk_to_when_open().hears(), "wgmfa app-gw: one-time code for justins-laptop:");
    assert_eq!(mallory.talk().hears(), "wgmfa app-gw: one-time code for mallorys-laptop:");
    mallory.add_address(&format!("{}/32", justin.address));
    wait_until("the connection", || mallory.connects_from(&mallory.address));
    assert!(!mallory.connects_from(&justin.address));
}

#[test]
fn it_listens_in_the_tunnel_only() {
    let bed = Bed::with_gate(0);
    let person = held_back(&bed, 1, "justins-laptop");
    let _resident = bed.resident();
    drop(person.talk_to_when_open());
    assert!(person.talk_to("10.99.1.1", 7777).is_err(), "the wire that carries the tunnel");
    // the gateway itself is nobody's device
    let mut own = bed.talk_from_gateway(GATEWAY);
    assert_eq!(own.hears(), "error: this address is no peer's");
    // past the tunnel to the right address, also with the right source
    person.goes_past_the_tunnel(GATEWAY);
    assert!(person.talk_to(GATEWAY, 7777).is_err());
    assert!(!person.connects_from(&person.address));
}

#[test]
fn a_peer_that_changes_hands_is_closed_at_once() {
    let bed = Bed::with_gate(0);
    let _protected = bed.serve(PROTECTED);
    let (justin, mallory) = (held_back(&bed, 1, "justins-laptop"), held_back(&bed, 2, "mallorys-laptop"));
    let _resident = bed.resident();
    let mut talk = justin.talk_to_when_open();
    talk.hears();
    assert_eq!(untimed(&talk.asks(CODE)), "ok: prod (60 min)");
    // the administrator gives justin's address to mallory
    let allowed = format!("{}/32,{}/32,{}/128", mallory.address, justin.address, mallory.address6);
    let key = mallory.peer.public_key.to_string();
    assert!(bed.wg(&["set", &bed.interface, "peer", &key, "allowed-ips", &allowed]).status.success());
    wait_until("it is closed", || bed.log().contains("prod closed: changed hands: "));
    mallory.add_address(&format!("{}/32", justin.address));
    assert!(!mallory.reaches(PROTECTED));
    wait_until("the bastion to be told", || {
        bed.bastion.events().iter().any(|(event, reason)| event == "closed" && reason.starts_with("changed hands: "))
    });
}

#[test]
fn an_address_of_a_network_is_nobody_unless_configured() {
    let bed = Bed::with_gate(0);
    let person = held_back(&bed, 1, "branch-office");
    let key = person.peer.public_key.to_string();
    assert!(bed.wg(&["set", &bed.interface, "peer", &key, "allowed-ips", "10.7.9.0/24"]).status.success());
    let resident = bed.resident();
    let mut talk = person.talk_to_when_open();
    assert_eq!(talk.hears(), "error: this address is one of a network, which nobody is known by");
    assert_eq!(talk.hears(), "");
    assert_eq!(
        bed.bastion.grant(&person.peer, "prod", 60).as_deref(),
        Some("it has no single address, only networks: codes-from-networks in agent.toml lets those through")
    );
    assert_eq!(resident.terminate(), Some(0));
    bed.bastion.gates(|gates| gates.close(&person.peer));
    bed.configure(&format!("codes-from-networks = true\n{}", crate::person::TIERS));
    let connected = bed.bastion.connected();
    let _resident = bed.resident();
    wait_until("the connection", || bed.bastion.connected() > connected);
    let mut talk = person.talk_to_when_open();
    assert_eq!(talk.hears(), "wgmfa app-gw: one-time code for branch-office:");
    assert_eq!(untimed(&talk.asks(CODE)), "ok: prod (60 min)");
}
