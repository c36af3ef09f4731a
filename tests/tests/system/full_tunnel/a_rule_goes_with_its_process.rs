//! Whatever becomes of a login, no rule of it stays: not of one that is broken off, killed, or beside another one.

use nix::sys::signal::Signal;
use wgmfa_tests::machine::end;
use wgmfa_tests::program::{ours, run};

use super::FullTunnel;

#[test]
fn which_is_broken_off() {
    let full = FullTunnel::new();
    let before = full.routing();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let mut login = full.start();
        login.signal(signal);
        login.await_end();
        full.await_rules(0);
        assert_eq!(full.routing(), before, "{signal}");
    }
}

#[test]
fn which_is_killed_by_the_next_start() {
    let mut full = FullTunnel::new();
    let before = full.routing();
    let mut login = full.start();
    full.holders().into_iter().for_each(end);
    assert_eq!(full.our_rules().len(), 1, "nobody was there to take it away");
    login.kill();
    let laptop = &full.lab.laptop;
    run(laptop.command(ours("wgmfa")).arg("interfaces"), b"").ok();
    assert_eq!(full.routing(), before);

    let mut login = full.start();
    full.holders().into_iter().for_each(end);
    login.kill();
    let ended = full.lab.laptop.sync(&[]).ok();
    assert_eq!(full.routing(), before, "{ended:?}");
    full.await_tunnel();
}

#[test]
fn and_not_with_another_one() {
    let mut full = FullTunnel::new();
    let before = full.routing();
    let mut one = full.start();
    let mut other = full.start();
    assert_eq!(full.our_rules().len(), 2, "each has its own");
    one.kill();
    full.await_rules(1);
    let holder = full.holders();
    full.lab.laptop.sync(&[]).ok();
    assert_eq!((full.holders(), full.our_rules().len()), (holder, 1), "the other login goes on");
    other.kill();
    full.await_rules(0);
    assert_eq!(full.routing(), before);
    full.await_tunnel();
}
