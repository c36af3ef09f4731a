//! Two servers without a person: the key that both use stands where each interface is configured, and what was there before
//! comes back with `stand-down`.

use wgmfa_tests::machine::write_private;
use wgmfa_tests::pair::{End, Pair};
use wgmfa_tests::tunnel::genkey;
use wgmfa_tests::wait::{LONG, until};

#[test]
fn the_key_in_the_files_is_the_one_in_use() {
    let mut pair = Pair::new("1h");
    let peers = [End::First, End::Second].map(|end| pair.gateway(end.other()).tunnel.keys.public.clone());
    let files = [End::First, End::Second].map(|end| {
        let gateway = pair.gateway(end);
        gateway.machine.path("wireguard").join(format!("{}.conf", gateway.tunnel.name))
    });
    let configured = genkey();
    let text = |peer: &str, key: &str| {
        format!("[Interface]\n# the pair\n[Peer]\npublickey={peer}\npresharedkey={key} # ours\n")
    };
    for (file, peer) in files.iter().zip(&peers) {
        write_private(file, &text(peer, &configured));
    }
    pair.first.start();
    pair.second.start();
    for generation in 1..=2 {
        pair.await_settled(generation);
        let keys = pair.preshared_keys().map(|key| key.expect("a key"));
        for ((file, peer), key) in files.iter().zip(&peers).zip(&keys) {
            until("the key in the file", LONG, || {
                (std::fs::read_to_string(file).unwrap() == text(peer, key)).then_some(())
            });
        }
        pair.rotate();
    }
    pair.await_settled(3);
    for (end, file, peer) in [(End::First, &files[0], &peers[0]), (End::Second, &files[1], &peers[1])] {
        pair.gateway(end).agent(&["stand-down", "--reason", "a test"]).ok();
        assert_eq!(std::fs::read_to_string(file).unwrap(), text(peer, &configured), "{end:?}");
    }
}
