//! What an administrator types and reads on the bastion, and what the programs of the site read there.

mod acts_may_be_repeated;
mod only_a_terminal_sees_colour;
mod programs_read_every_answer;
mod what_is_wrong_is_told_with_a_hint;

use std::sync::Arc;

use wgmfa_tests::bastion::Bastion;
use wgmfa_tests::lab::policy;
use wgmfa_tests::machine::{Machine, unique};

/// A running bastion without anybody, in a machine without a wire.
fn bastion() -> Bastion {
    let machine = Arc::new(Machine::new(&unique()));
    let mut bastion = Bastion::init(&machine, "127.0.0.1");
    bastion.policy("101-devices.toml", &policy("1h", "app-gw/wg0"));
    bastion.start();
    bastion
}

/// An agent's key that nobody else has.
fn agent_key() -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("key");
    let mut keygen = std::process::Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "agent", "-f"]).arg(&path);
    assert!(keygen.status().expect("ssh-keygen can be started").success());
    std::fs::read_to_string(path.with_extension("pub")).expect("ssh-keygen wrote it")
}
