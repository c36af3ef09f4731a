//! A host gets another SSH key: the host makes it, an administrator carries it, and the old one is refused from then on.

use wgmfa_tests::Lab;
use wgmfa_tests::lab::HOST;
use wgmfa_tests::wait::{LONG, until};

#[test]
fn the_agent_goes_over_to_its_next_key_when_the_bastion_has_it() {
    let mut lab = Lab::with_resident_agent("1h");
    let identity = lab.gateway.machine.path("agent_ed25519");
    let old = std::fs::read(&identity).unwrap();
    let line = lab.gateway.agent(&["new-key"]).ok().stdout;
    assert_eq!(lab.gateway.agent(&["new-key"]).ok().stdout, line, "one that waits is not made anew");
    // until then nothing has changed
    lab.gateway.agent(&["rotate"]).ok();
    assert_eq!(std::fs::read(&identity).unwrap(), old);

    let replace = ["host", "add", HOST, "--key", "-", "--replace"];
    lab.bastion.admin_with(&replace, line.as_bytes()).ok();
    until("the new key in its place", LONG, || (std::fs::read(&identity).unwrap() != old).then_some(()));
    lab.gateway.await_contact(&lab.bastion);
    assert!(!lab.gateway.machine.path("agent_ed25519.next").exists());
    assert_eq!(lab.bastion.admin_with(&replace, line.as_bytes()).ok().stdout, "unchanged\n");
    lab.log_in();

    // the old key is worth nothing, whoever has it, and what was done stands in the log
    lab.gateway.agent.take().expect("it runs").stop();
    std::fs::write(&identity, old).unwrap();
    let said = lab.gateway.agent(&["rotate"]).expect(3).stderr;
    assert!(said.contains("does not accept this host's key"), "{said}");
    assert_eq!(lab.bastion.log("host-rekeyed").len(), 1);
}

#[test]
fn a_key_is_replaced_by_an_administrator_alone_and_belongs_to_one_host() {
    let mut lab = Lab::with_resident_agent("1h");
    let line = lab.gateway.agent(&["new-key"]).ok().stdout;
    let refused = lab.bastion.admin_with(&["host", "add", "elsewhere", "--key", "-", "--replace"], line.as_bytes());
    assert!(refused.expect(1).stderr.contains("there is no host 'elsewhere'"));
    lab.bastion.add_host("db-gw", &line);
    let refused = lab.bastion.admin_with(&["host", "add", HOST, "--key", "-", "--replace"], line.as_bytes());
    assert!(refused.expect(1).stderr.contains("this SSH key belongs to host db-gw"));
    // nobody else may ask for it
    let over_ssh = lab.laptop.ssh(&["wgmfa-bastion", "host", "add", HOST, "--key", "-", "--replace"]);
    assert!(over_ssh.expect(1).stderr.contains("only an administrator may ask for this"));
    assert_eq!(lab.bastion.log("host-rekeyed").len(), 0);
}
