//! Lock, open, and change in place, on a tunnel through which datagrams run.

mod lab;

use lab::{Echo, Lab, random_key};
use wgmfa_wireguard::{EndpointRule, read, readd, set_preshared_key};

#[test]
fn no_answer_comes_to_anything_sent_after_the_lock_and_the_right_key_opens_again() {
    let lab = Lab::up();
    let (server, client) = (&lab.server, &lab.client);
    let mut echo = Echo::between(client, server);
    echo.await_answer();
    let before = server.inside(|| read(&server.name)).unwrap();
    let peer = before.peer(&client.public_key).unwrap();
    assert!(peer.latest_handshake.is_some() && peer.received > 0 && peer.sent > 0 && peer.endpoint.is_some());
    assert_eq!(peer.preshared_key.as_ref(), Some(&lab.preshared_key));

    let lock_key = random_key();
    server.inside(|| readd(&server.name, &[(client.public_key, lock_key.clone())], EndpointRule::Drop)).unwrap();
    let first_after_the_lock = echo.send();
    for _ in 0..200 {
        echo.send();
        assert!(echo.receive().is_none_or(|number| number < first_after_the_lock));
    }
    let locked = server.inside(|| read(&server.name)).unwrap();
    let peer = locked.peer(&client.public_key).unwrap();
    assert_eq!((locked.public_key, locked.listen_port), (server.public_key, Some(51820)));
    assert_eq!(peer.preshared_key.as_ref(), Some(&lock_key));
    assert_eq!(peer.allowed_ips, before.peer(&client.public_key).unwrap().allowed_ips);
    assert_eq!((peer.latest_handshake, peer.persistent_keepalive), (None, None));

    let released = random_key();
    server.inside(|| readd(&server.name, &[(client.public_key, released.clone())], EndpointRule::Drop)).unwrap();
    client.inside(|| readd(&client.name, &[(server.public_key, released.clone())], EndpointRule::Keep)).unwrap();
    echo.await_answer();
    let opened = client.inside(|| read(&client.name)).unwrap();
    let peer = opened.peer(&server.public_key).unwrap();
    assert_eq!(peer.endpoint, "10.99.0.1:51820".parse().ok());
    assert_eq!(peer.persistent_keepalive, Some(25));
    assert_eq!(peer.allowed_ips.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.77.0.0/24", "fd77::/64"]);
    assert!(peer.latest_handshake.is_some());
}

#[test]
fn a_key_changed_in_place_on_both_ends_loses_no_answer_and_keeps_everything_else() {
    let lab = Lab::up();
    let (server, client) = (&lab.server, &lab.client);
    let mut echo = Echo::between(client, server);
    echo.await_answer();
    let before = server.dump();
    let next = random_key();
    server.inside(|| set_preshared_key(&server.name, &[(client.public_key, next.clone())])).unwrap();
    client.inside(|| set_preshared_key(&client.name, &[(server.public_key, next.clone())])).unwrap();
    for _ in 0..100 {
        let sent = echo.send();
        lab::await_that("the answer to each datagram", || echo.receive() == Some(sent));
    }
    let after = server.dump();
    assert_eq!(after[0], before[0]);
    // public key, preshared key, endpoint, allowed IPs, latest handshake, received, sent, keepalive (wg(8))
    assert_eq!(after[1][1], *next.expose_base64());
    for field in [0, 2, 3, 4, 7] {
        assert_eq!(after[1][field], before[1][field], "field {field}");
    }
}
