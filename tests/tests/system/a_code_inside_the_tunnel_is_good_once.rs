//! A code that is given inside a tunnel is used up with the grant it opens, whatever happens at that moment: two who race
//! with it, a bastion that is killed or has no room on its disk, and a login over SSH with the same code.

use std::os::unix::process::ExitStatusExt;

use wgmfa_tests::Gated;
use wgmfa_tests::gated::{GATEWAY6, LAPTOP6, PROTECTED};
use wgmfa_tests::lab::{DEVICE, GATEWAY, LAPTOP};
use wgmfa_tests::wait::{LONG, until};

#[test]
fn of_two_who_race_with_one_code_one_gets_the_tier() {
    let mut gated = Gated::with_resident_agent("1h");
    let code = gated.lab.laptop.authenticator.next_code();
    let line = format!("{code}\n");
    let said = std::thread::scope(|scope| {
        let ways = [(LAPTOP, GATEWAY), (LAPTOP6, GATEWAY6), (LAPTOP, GATEWAY)];
        let asked = ways.map(|(from, to)| {
            let (gated, line) = (&gated, &line);
            scope.spawn(move || gated.ask_from(from, to, line))
        });
        asked.map(|asked| asked.join().unwrap())
    });
    assert_eq!(said.iter().filter(|said| said.contains("\nok: prod until ")).count(), 1, "{said:#?}");
    gated.await_open(PROTECTED);
    assert_eq!((gated.lab.bastion.log("code-accepted").len(), gated.lab.bastion.log("granted").len()), (1, 1));

    // nor is it good for a login over SSH
    gated.lab.laptop.set_code(&code);
    gated.lab.laptop.sync_as_set(&[]).expect(3);
    assert_eq!(gated.lab.bastion.log("code-accepted").len(), 1);
    // and one of a login opens nothing inside the tunnel
    gated.lab.laptop.sync(&[]).ok();
    let code = gated.lab.laptop.authenticator.used_code();
    let said = gated.ask(&format!("{code}\n"));
    assert!(said.contains("\nwrong code, "), "{said}");
}

#[test]
fn a_keeper_killed_before_its_answer_has_recorded_the_grant_and_the_code() {
    let mut gated = Gated::with_resident_agent("1h");
    gated.lab.bastion.stop();
    gated.lab.bastion.start_with(&[("WGMFA_CRASH_AT", "code-accepted")]);
    until("the agent to be back", LONG * 2, || {
        let contact = gated.lab.gateway.status();
        let said = gated.ask("status\n");
        (said.contains("closed: ") && contact["connected"] != false).then_some(())
    });
    let code = gated.lab.laptop.authenticator.next_code();
    let line = format!("{code}\n");
    until("the code to reach the bastion", LONG * 2, || {
        let said = gated.ask(&line);
        assert!(!said.contains("ok:") && !said.contains("wrong code"), "{said}");
        gated.lab.bastion.machine.pids().is_empty().then_some(())
    });
    let mut serve = gated.lab.bastion.serve.take().expect("it was started");
    assert_eq!(serve.await_end().signal(), Some(9), "{}", serve.said());
    assert!(!gated.reaches(PROTECTED), "nobody has said that it was good");
    gated.lab.bastion.start();
    until("the grant", LONG * 2, || gated.reaches(PROTECTED).then_some(()));
    let said = gated.ask(&line);
    assert!(said.contains("\nwrong code, "), "it was used up: {said}");
    gated.lab.bastion.await_state(DEVICE, "OK");
    gated.lab.bastion.admin(&["log", "verify"]).ok();
}
