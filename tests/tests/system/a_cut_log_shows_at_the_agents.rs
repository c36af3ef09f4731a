//! Somebody puts an older store back without a word: what the log has lost is known to those who saw it.

use std::process::Command;

use wgmfa_tests::Lab;
use wgmfa_tests::program::run;
use wgmfa_tests::wait::{LONG, until};

#[test]
fn the_bastion_and_the_host_name_the_line_that_is_missing() {
    let mut lab = Lab::with_resident_agent("1h");
    let state = lab.bastion.folder().join("state");
    assert!(state.join("wgmfa.db").exists(), "the state folder of a trial");
    let old = lab.bastion.machine.path("old-state");
    lab.bastion.stop();
    run(Command::new("cp").arg("-a").arg(&state).arg(&old), b"").ok();
    lab.bastion.start();
    lab.gateway.await_contact(&lab.bastion);
    lab.log_in();
    lab.gateway.agent(&["rotate"]).ok();
    let seen = lab.gateway.status()["log_head"].clone();
    let (seq, hash) = (seen["seq"].as_u64().expect("a number"), seen["hash"].as_str().expect("a hash"));
    let line = lab.bastion.admin(&["--json", "log"]).ok().json();
    let line = line["lines"].as_array().expect("lines").iter().find(|line| line["seq"] == seq).cloned();
    assert_eq!(line.expect("the bastion has the line")["hash"], hash);

    lab.bastion.stop();
    std::fs::rename(&state, lab.bastion.machine.path("newer-state")).expect("the folder is ours");
    std::fs::rename(&old, &state).expect("the folder is ours");
    lab.bastion.start();
    let named = format!("host app-gw saw line {seq} (hash {hash})");
    until("the name of the missing line", LONG, || {
        lab.bastion.admin(&["status"]).stdout.contains(&named).then_some(())
    });
    let verified = lab.bastion.admin(&["log", "verify"]).expect(1);
    assert!(verified.stderr.contains(&named), "{verified:#?}");
    assert_eq!(lab.bastion.log("log-lost").len(), 1);
    until("the host's own testimony", LONG, || (lab.gateway.status()["lost_log_head"] == seen).then_some(()));
}

#[test]
fn the_head_goes_to_the_journal() {
    let mut lab = Lab::new("1h");
    let mut serve = lab.bastion.serve.take().expect("it runs");
    serve.await_line("audit log: line ");
    serve.stop();
    let said: Vec<_> = serve.lines().into_iter().filter(|line| line.text.contains("audit log: line ")).collect();
    assert!(said.len() >= 2, "at the start and at the end: {said:#?}");
    lab.bastion.start();
    let lines = lab.bastion.admin(&["--json", "log"]).ok().json();
    let has = |text: &str| {
        let lines = lines["lines"].as_array().expect("lines").iter();
        lines.filter_map(|line| line["hash"].as_str()).any(|hash| text.ends_with(hash))
    };
    assert!(said.iter().all(|line| has(&line.text)), "{said:#?}");
}
