//! What comes while new generations are on their way to the bastion's disk goes before them.

use std::time::{Duration, Instant};

use wgmfa_core::key::PresharedKey;
use wgmfa_core::message::agent::{Delivery, FromAgent, PeerGeneration, Role, ToAgent};

use crate::bastion::Connections;
use crate::bed::{Bed, wait_until};

/// A resident agent's waiting key is one interval old, and when it deposits the next one this happens.
fn meanwhile(bed: &Bed, happens: impl FnOnce(&mut Connections) -> ToAgent + Send + 'static) {
    bed.bastion.interject(happens);
    let age = Duration::from_secs(30);
    bed.bastion.change(&bed.peers[0], |connection| {
        (connection.interval, connection.applied) = (age.as_secs(), Some((1, Instant::now() - age)));
    });
    bed.bastion.send(ToAgent::Round { reason: "test".to_owned() });
    wait_until("the deposit", || bed.bastion.connection(&bed.peers[0]).highest == 2);
}

/// How many reports there were, and whether the last deposit came before the last of them.
fn is_reported_since(bed: &Bed) -> bool {
    let heard = bed.bastion.heard();
    let last = |is: fn(&FromAgent) -> bool| heard.iter().rposition(|heard| is(&heard.message));
    last(|message| matches!(message, FromAgent::Report { .. }))
        > last(|message| matches!(message, FromAgent::Deposit { .. }))
}

#[test]
fn a_session_that_begins_then_is_told_of_at_once() {
    let bed = Bed::new(1);
    let _resident = bed.resident();
    wait_until("a key waits", || bed.is_waiting(0));
    let key = bed.key_on(0);
    let (peer, until) = (bed.peers[0].clone(), Instant::now() + Duration::from_secs(600));
    meanwhile(&bed, move |connections| {
        let connection = connections.get_mut(&peer).unwrap();
        (connection.interval, connection.released) = (600, Some((1, until)));
        ToAgent::Open { id: 1, which: PeerGeneration { peer, generation: 1 }, seconds_left: 600 }
    });
    wait_until("another report, sooner than a minute later", || is_reported_since(&bed));
    assert_eq!(bed.key_on(0), key, "the session has its key");
    assert!(bed.state_text().contains("\"hold\":\"open\""), "{}", bed.state_text());
}

#[test]
fn a_key_that_an_administrator_sets_then_stays() {
    let bed = Bed::new(1);
    let _resident = bed.resident();
    wait_until("a key waits", || bed.is_waiting(0));
    let preshared_key = PresharedKey::from_bytes([7; 32]).unwrap();
    let delivery = Delivery {
        which: PeerGeneration { peer: bed.peers[0].clone(), generation: 0 },
        connection: "app-gw/devices:p".to_owned(),
        preshared_key: preshared_key.clone(),
        role: Role::Free,
    };
    meanwhile(&bed, |connections| {
        connections.values_mut().for_each(|connection| connection.interval = 600);
        ToAgent::Put { id: 1, delivery }
    });
    bed.bastion.uncover(&bed.peers);
    wait_until("another report", || is_reported_since(&bed));
    assert_eq!(bed.key_on(0), *preshared_key.expose_base64());
}
