//! Two servers without a person: the key that both use stands where each interface is configured, and what was there before
//! comes back with `stand-down`.

use std::path::PathBuf;

use wgmfa_tests::machine::write_private;
use wgmfa_tests::pair::{End, Pair};
use wgmfa_tests::tunnel::genkey;
use wgmfa_tests::wait::{LONG, until};

const ENDS: [End; 2] = [End::First, End::Second];

/// A pair whose interfaces are configured in files, with resident agents.
struct Configured {
    pair: Pair,
    /// The public key of each end's peer, and the end's file.
    ends: [(String, PathBuf); 2],
    /// The key that stood there.
    key: String,
}

impl Configured {
    fn new() -> Self {
        let mut pair = Pair::new("1h");
        let ends = ENDS.map(|end| {
            let peer = pair.gateway(end.other()).tunnel.keys.public.clone();
            let gateway = pair.gateway(end);
            (peer, gateway.machine.path("wireguard").join(format!("{}.conf", gateway.tunnel.name)))
        });
        let key = genkey();
        ends.iter().for_each(|(peer, file)| write_private(file, &text(peer, &key)));
        pair.first.start();
        pair.second.start();
        Self { pair, ends, key }
    }

    /// Waits until both files have the key that their interface has.
    fn await_keys_in_files(&self) -> [String; 2] {
        let mut keys = self.pair.preshared_keys().map(|key| key.expect("a key"));
        until("the keys in the files", LONG, || {
            keys = self.pair.preshared_keys().map(|key| key.expect("a key"));
            let is_there = |((peer, file), key): (&(String, PathBuf), &String)| read(file) == text(peer, key);
            self.ends.iter().zip(&keys).all(is_there).then_some(())
        });
        keys
    }
}

fn text(peer: &str, key: &str) -> String {
    format!("[Interface]\n# the pair\n[Peer]\npublickey={peer}\npresharedkey={key} # ours\n")
}

fn read(file: &PathBuf) -> String {
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn the_key_in_the_files_is_the_one_in_use() {
    let mut configured = Configured::new();
    for generation in 1..=2 {
        configured.pair.await_settled(generation);
        configured.await_keys_in_files();
        configured.pair.rotate();
    }
    configured.pair.await_settled(3);
    for (end, (peer, file)) in ENDS.iter().zip(&configured.ends) {
        configured.pair.gateway(*end).agent(&["stand-down", "--reason", "a test"]).ok();
        assert_eq!(read(file), text(peer, &configured.key), "{end:?}");
    }
}

#[test]
fn a_key_that_an_administrator_sets_after_the_policy_is_gone_stands_there_too() {
    let configured = Configured::new();
    let pair = &configured.pair;
    pair.await_settled(1);
    configured.await_keys_in_files();
    let policy = read(&pair.bastion.folder().join("policy.d/103-infra.toml"));
    pair.bastion.policy("103-infra.toml", &policy.replace(&pair.first.tunnel.name, "elsewhere"));
    pair.bastion.admin(&["reload"]).ok();
    let key = genkey();
    pair.bastion.admin_with(&["key", "set", &pair.connection(), "--reason", "by hand"], key.as_bytes()).ok();
    until("both have it", LONG, || {
        pair.preshared_keys().iter().all(|stands| stands.as_ref() == Some(&key)).then_some(())
    });
    assert_eq!(configured.await_keys_in_files(), [key.clone(), key]);
}
