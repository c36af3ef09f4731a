//! A client without a persistent keepalive sends nothing by itself; its handshake is begun all the same.

mod lab;

use lab::{Lab, await_that, random_key};
use wgmfa_wireguard::{EndpointRule, begin_handshakes, read, readd, set_preshared_key};

#[test]
fn and_the_interface_is_as_it_was() {
    let lab = Lab::up();
    let (client, server) = (&lab.client, &lab.server);
    let peer = server.public_key.to_string();
    client.wg(&["set", client.name.as_str(), "peer", &peer, "persistent-keepalive", "off"], "");
    let key = random_key();
    server.inside(|| set_preshared_key(&server.name, &[(client.public_key, key.clone())])).unwrap();
    client.inside(|| readd(&client.name, &[(server.public_key, key)], EndpointRule::Keep)).unwrap();
    let before = client.dump();

    client.inside(|| begin_handshakes(&client.name, &[server.public_key])).unwrap();
    let shaken = || client.inside(|| read(&client.name)).unwrap().peers[0].latest_handshake.is_some();
    await_that("a handshake", shaken);
    let [before, after] = [&before, &client.dump()].map(|dump| dump[1].clone());
    assert_eq!((&before[..4], &before[7]), (&after[..4], &"off".to_owned()));
    assert_eq!(after[7], "off", "the keepalive is off again");
}

#[test]
fn not_with_a_peer_that_has_no_endpoint_or_is_none() {
    let lab = Lab::up();
    let (client, server) = (&lab.client, &lab.server);
    let key = random_key();
    server.inside(|| readd(&server.name, &[(client.public_key, key)], EndpointRule::Drop)).unwrap();
    let before = server.dump();
    let nobody = lab::pair().1;
    server.inside(|| begin_handshakes(&server.name, &[client.public_key, nobody])).unwrap();
    let sent_and_keepalive = |dump: &[Vec<String>]| (dump.len(), dump[1][6].clone(), dump[1][7].clone());
    assert_eq!(sent_and_keepalive(&server.dump()), sent_and_keepalive(&before));
}
