//! Two servers without a person, and each of the three programs killed (SIGKILL) at each step of a rotation. Afterwards
//! nobody does anything but start it again; both ends have one key, and packets pass.

use std::os::unix::process::ExitStatusExt;

use wgmfa_tests::pair::{Beginning, End, Pair};
use wgmfa_tests::wait::{LONG, until};

/// How patient agents are here, in seconds: for a handshake, and for an attempt.
const PATIENCE: (&str, &str) = ("WGMFA_PATIENCE", "3 2");

fn start(pair: &mut Pair, end: End) {
    pair.gateway(end).start_with(&[PATIENCE]);
}

fn begun(behind: Option<End>) -> Pair {
    let mut pair = Pair::begin(&Beginning { behind, ..Beginning::new("1h") });
    start(&mut pair, End::First);
    start(&mut pair, End::Second);
    pair.await_settled(1);
    pair
}

/// Both ends use one key, and a handshake proves it.
fn assert_together(pair: &Pair) {
    until("one key on both ends", LONG, || {
        let [first, second] = pair.preshared_keys();
        (first.is_some() && first == second).then_some(())
    });
    shake_hands_anew(pair);
    pair.await_ping();
}

/// Ends the session that runs, as a reboot of the first end would.
fn shake_hands_anew(pair: &Pair) {
    let (first, second) = (&pair.first, &pair.second);
    let key = first.preshared_key(&second.tunnel.keys.public).expect("a key");
    first.tunnel.readd(&first.machine, &second.tunnel.keys.public, &key);
}

fn agent_killed(end: End, point: &str) {
    let mut pair = begun(None);
    pair.gateway(end).agent.as_mut().expect("it runs").stop();
    pair.gateway(end).start_with(&[PATIENCE, ("WGMFA_CRASH_AT", point)]);
    pair.rotate();
    let mut killed = pair.gateway(end).agent.take().expect("it was started");
    assert_eq!(killed.await_end().signal(), Some(9), "{end:?} is killed at {point}: {}", killed.said());
    start(&mut pair, end);
    pair.await_settled(2);
    assert_together(&pair);
    let alarms = pair.bastion.log("changed-outside");
    assert!(alarms.is_empty(), "nobody but the agents changed anything: {alarms:#?}");
}

macro_rules! at_each_point {
    ($($module:ident: $end:ident at $($name:ident $point:literal),*;)*) => {
        $(mod $module {
            $(#[test] fn $name() { super::agent_killed(super::End::$end, $point); })*
        })*
    };
}

at_each_point! {
    the_first_end_killed_when_it_has: First at
        made "pair-made", saved "pair-saved", applied "pair-applied", noted "noted";
    the_second_end_killed_when_it_has: Second at
        staged "pair-staged", saved "pair-saved", applied "pair-applied", noted "noted";
}

fn keeper_killed(point: &str) {
    let mut pair = begun(None);
    pair.bastion.stop();
    pair.bastion.start_with(&[("WGMFA_CRASH_AT", point)]);
    for end in [End::First, End::Second] {
        let bastion = &pair.bastion;
        match end {
            End::First => pair.first.await_contact(bastion),
            End::Second => pair.second.await_contact(bastion),
        }
    }
    pair.rotate();
    let mut serve = pair.bastion.serve.take().expect("it was started");
    assert_eq!(serve.await_end().signal(), Some(9), "it is killed at {point}: {}", serve.said());
    until("the end of front and workers", LONG, || pair.bastion.machine.pids().is_empty().then_some(()));
    pair.bastion.start();
    pair.await_settled(2);
    assert_together(&pair);
    pair.bastion.admin(&["log", "verify"]).ok();
}

#[test]
fn a_keeper_killed_with_a_deposit_on_disk() {
    keeper_killed("deposited");
}

#[test]
fn a_keeper_killed_when_it_knows_that_the_other_end_holds_the_key() {
    keeper_killed("staged");
}

#[test]
fn a_keeper_killed_when_the_first_end_uses_the_key() {
    keeper_killed("applied");
}

#[test]
fn a_keeper_killed_when_both_ends_use_the_key() {
    keeper_killed("applied-by-both");
}

/// The first end uses a key that the second one only holds, and nobody can say so: the second one finds out by itself.
fn heals_without_the_bastion(behind: Option<End>) {
    let mut pair = begun(behind);
    pair.first.agent.as_mut().expect("it runs").stop();
    pair.first.start_with(&[PATIENCE, ("WGMFA_CRASH_AT", "pair-applied")]);
    pair.rotate();
    let mut killed = pair.first.agent.take().expect("it was started");
    assert_eq!(killed.await_end().signal(), Some(9), "{}", killed.said());
    if behind.is_none() {
        pair.bastion.kill();
    }
    shake_hands_anew(&pair);
    assert_together(&pair);
    start(&mut pair, End::First);
    if behind.is_none() {
        pair.bastion.start();
    }
    pair.await_settled(2);
    pair.rotate();
    pair.await_settled(3);
    assert_together(&pair);
}

#[test]
fn the_second_end_finds_the_key_of_the_first_without_the_bastion() {
    heals_without_the_bastion(None);
}

#[test]
fn also_when_the_first_end_reaches_the_bastion_through_the_tunnel_alone() {
    heals_without_the_bastion(Some(End::First));
}

#[test]
fn also_when_the_second_end_reaches_the_bastion_through_the_tunnel_alone() {
    heals_without_the_bastion(Some(End::Second));
}

#[test]
fn an_end_that_was_rebooted_has_its_newest_key_without_the_bastion() {
    for end in [End::First, End::Second] {
        let mut pair = begun(None);
        pair.rotate();
        pair.await_settled(2);
        pair.bastion.kill();
        let gateway = pair.gateway(end);
        gateway.agent.as_mut().expect("it runs").kill();
        let file = gateway.machine.path(&format!("{}.conf", gateway.tunnel.name));
        gateway.tunnel.down(&gateway.machine);
        gateway.tunnel.make(&gateway.machine, &file);
        let [first, second] = pair.preshared_keys();
        assert_ne!(first, second, "the interface has come up with the key of its file");
        pair.gateway(end).start_with(&[PATIENCE, ("WGMFA_BOOT_ID", "another")]);
        until("one key on both ends", LONG, || {
            let [first, second] = pair.preshared_keys();
            (first == second).then_some(())
        });
        pair.await_ping();
    }
}
