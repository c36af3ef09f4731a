//! `wgmfa-passwd` and `wgmfa-codes` after a login, and a code that an administrator reads out on the telephone.

use wgmfa_tests::bastion::PASSWORD;

use super::site::{REFUSAL, Site};

#[test]
fn a_password_is_changed_by_its_owner() {
    let mut site = Site::new();
    let refused = site.justin.ssh_with(&["wgmfa-passwd"], b"another long one\nyet another one\n").expect(1);
    assert!(refused.stderr.contains("the two passwords differ"), "{refused:?}");
    site.justin.ssh(&["wgmfa-status"]).ok();
    let done = site.justin.ssh_with(&["wgmfa-passwd"], b"another long one\nanother long one\n").ok();
    assert_eq!(done.stdout, "the password is changed\n");
    assert!(site.justin.ssh(&["wgmfa-status"]).expect(255).said().contains(REFUSAL));
    site.justin.laptop.set_password("another long one");
    site.justin.ssh(&["wgmfa-status"]).ok();
    assert_eq!(site.count("password-changed"), 1);
}

#[test]
fn new_recovery_codes_void_the_old_ones() {
    let mut site = Site::new();
    let made = site.justin.ssh(&["wgmfa-codes", "--json"]).ok().json();
    let codes: Vec<_> = made["recovery_codes"].as_array().expect("codes").iter().filter_map(|it| it.as_str()).collect();
    assert_eq!(codes.len(), 10);
    site.justin.ssh(&["wgmfa-status"]).expect(255);
    for expected in [0, 255] {
        site.justin.laptop.set_code(codes[0]);
        site.justin.laptop.ssh_as_set(&["wgmfa-status"]).expect(expected);
    }
    assert_eq!(site.count("recovery-replaced"), 1);
}

#[test]
fn a_code_is_read_out_on_the_telephone() {
    let site = Site::new();
    let host = site.host("app-gw");
    let mut agent = host.connect(false);
    agent.wait_with_keys(&[site.justin.public_key()], 1);
    let hand_out = |options: &[&str]| {
        let words = [&["--json", "user", "code", "justin", "--reason", "his telephone is broken"], options].concat();
        site.bastion.admin(&words).ok().json()["code"].as_str().expect("a code").to_owned()
    };
    let (first, second) = (hand_out(&[]), hand_out(&["--for", "10m"]));
    let justin = &site.justin.laptop;
    justin.set_code(&first);
    justin.ssh_as_set(&["wgmfa-status"]).expect(255);
    justin.set_password("wrong");
    justin.set_code(&second);
    justin.ssh_as_set(&["wgmfa-status"]).expect(255);
    justin.set_password(PASSWORD);
    assert!(site.bastion.admin(&["user", "show", "justin"]).ok().stdout.contains("by telephone until"));
    let released = justin.ssh_as_set(&["wgmfa-sync"]).ok();
    assert_eq!(released.stdout.lines().count(), 1, "{released:?}");
    justin.ssh_as_set(&["wgmfa-status"]).expect(255);
    let third = hand_out(&[]);
    site.bastion.admin(&["user", "disable", "justin"]).expect(6); // the agent does not answer
    site.bastion.admin(&["user", "enable", "justin"]).ok();
    justin.set_code(&third);
    justin.ssh_as_set(&["wgmfa-status"]).expect(255);
    let issued = site.bastion.log("code-issued");
    assert!(issued.len() == 3 && issued[0]["reason"] == "his telephone is broken", "{issued:?}");
    let accepted = site.bastion.log("code-accepted");
    assert_eq!(accepted[0]["reason"], "code read out on the telephone", "{accepted:?}");
}
