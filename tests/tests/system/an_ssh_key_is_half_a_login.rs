//! `first-factor = "publickey"` and `"either"`: stock `ssh` shows a registered key, and the code alone is asked for.

use std::path::PathBuf;

use wgmfa_tests::bastion::PASSWORD;
use wgmfa_tests::program::{Ended, run};

use super::site::{Person, REFUSAL, Site};

fn site(first_factor: &str) -> (Site, PathBuf) {
    let site = Site::with(|_| {}, |bastion| bastion.configure("first-factor", &format!("\"{first_factor}\"")));
    let key = keygen(&site.justin, "id", "ed25519");
    let line = std::fs::read(key.with_extension("pub")).expect("ssh-keygen makes it");
    site.bastion.admin_with(&["user", "key", "add", "justin", "--key", "-"], &line).ok();
    (site, key)
}

fn keygen(person: &Person, name: &str, kind: &str) -> PathBuf {
    let path = person.laptop.machine.path(name);
    let mut keygen = person.laptop.machine.command("ssh-keygen");
    run(keygen.args(["-q", "-t", kind, "-N", "", "-C", name, "-f"]).arg(&path), b"").ok();
    path
}

/// Stock `ssh` with this key and a code that was not used yet; what it asked for meanwhile.
#[track_caller]
fn ssh(person: &mut Person, key: &PathBuf, words: &[&str]) -> (Ended, Vec<String>) {
    let (before, code) = (person.laptop.asked().len(), person.fresh_code());
    person.laptop.set_code(&code);
    let mut ssh = person.laptop.command("ssh");
    ssh.arg("-F").arg(person.laptop.ssh_config()).args(["-o", "IdentitiesOnly=yes", "-i"]).arg(key);
    let ended = run(ssh.arg("bastion").args(words), b"");
    (ended, person.laptop.asked().split_off(before))
}

#[test]
fn with_publickey_the_code_alone_is_asked_for_after_a_registered_key() {
    let (mut site, key) = site("publickey");
    let justin = &mut site.justin;
    justin.laptop.set_password("not asked for");
    let (ended, asked) = ssh(justin, &key, &["wgmfa-status"]);
    ended.ok();
    assert!(asked.len() == 1 && asked[0].contains("One-time code"), "{asked:?}");
    // the code is still the second factor
    justin.laptop.set_code("000000");
    let mut wrong = justin.laptop.command("ssh");
    wrong.arg("-F").arg(justin.laptop.ssh_config()).arg("-i").arg(&key);
    assert!(run(wrong.args(["bastion", "wgmfa-status"]), b"").expect(255).said().contains(REFUSAL));

    // a key of nobody's, and none at all: even the right password does not help
    justin.laptop.set_password(PASSWORD);
    let other = keygen(justin, "other", "ecdsa");
    for key in [&other, &PathBuf::from("none")] {
        let (ended, asked) = ssh(justin, key, &["wgmfa-status"]);
        assert!(ended.expect(255).said().contains(REFUSAL) && asked.len() == 2, "{asked:?}");
    }
    let mut dana = site.person("dana");
    let (ended, _) = ssh(&mut dana, &key, &["wgmfa-status"]);
    ended.expect(255);
    let refused = site.bastion.log("login-refused");
    let reason = refused.last().expect("a refusal")["reason"].as_str().unwrap_or_default().to_owned();
    assert_eq!(reason, "no registered SSH key was shown");
    assert_eq!(site.count("key-accepted"), 2);
    let why = site.bastion.admin(&["why", "dana"]).ok().stdout;
    assert!(why.contains("no registered SSH key"), "{why}");
    let checked = site.bastion.admin(&["check"]).ok().stdout;
    assert!(checked.contains("warning: dana can never log in: has no registered SSH key"), "{checked}");
    assert!(!checked.contains("justin"), "{checked}");
    let there = dana.ssh(&["wgmfa-bastion", "check"]).expect(255);
    assert!(there.said().contains(REFUSAL));

    // forgotten, it is nobody's again
    let keys = site.bastion.admin(&["--json", "user", "key", "list", "justin"]).ok().json();
    let fingerprint = keys["keys"][0]["fingerprint"].as_str().expect("a fingerprint");
    site.bastion.admin(&["user", "key", "remove", "justin", fingerprint]).ok();
    ssh(&mut site.justin, &key, &["wgmfa-status"]).0.expect(255);
}

#[test]
fn with_either_a_key_or_the_password_comes_first() {
    let (mut site, key) = site("either");
    let justin = &mut site.justin;
    let (ended, asked) = ssh(justin, &key, &["wgmfa-status"]);
    ended.ok();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let (ended, asked) = ssh(justin, &PathBuf::from("none"), &["wgmfa-status"]);
    ended.ok();
    assert_eq!(asked.len(), 2, "{asked:?}");
    justin.laptop.set_password("wrong");
    ssh(justin, &PathBuf::from("none"), &["wgmfa-status"]).0.expect(255);
}

#[test]
fn with_password_a_key_never_helps() {
    let (mut site, key) = site("password");
    let (ended, asked) = ssh(&mut site.justin, &key, &["wgmfa-status"]);
    ended.ok();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(site.count("key-accepted"), 0);
}

#[test]
fn a_key_on_a_token_is_a_persons_and_no_hosts() {
    let (site, _) = site("either");
    let kind = "sk-ssh-ed25519@openssh.com";
    // the base point of Ed25519 stands for the token's key
    let line = format!(
        "{kind} AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIFhmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmAAAABHNzaDo= token\n"
    );
    let add = ["user", "key", "add", "justin", "--key", "-"];
    assert!(site.bastion.admin_with(&add, line.as_bytes()).ok().stdout.starts_with("added SHA256:"));
    assert_eq!(site.bastion.admin_with(&add, line.as_bytes()).ok().stdout, "unchanged\n");
    let listed = site.bastion.admin(&["user", "key", "list", "justin"]).ok().stdout;
    assert!(listed.contains(kind) && listed.contains("token"), "{listed}");
    let refused = site.bastion.admin_with(&["host", "add", "app-gw", "--key", "-"], line.as_bytes()).expect(2);
    assert!(refused.stderr.contains("an agent's key is an Ed25519 or ECDSA key"), "{refused:?}");
}

#[test]
fn only_keys_that_can_be_used_are_registered() {
    let (site, _) = site("either");
    let rsa = keygen(&site.justin, "rsa", "rsa");
    let public = std::fs::read(rsa.with_extension("pub")).expect("ssh-keygen makes it");
    let private = std::fs::read(&rsa).expect("ssh-keygen makes it");
    for text in [&public[..], &private, b"", b"nonsense"] {
        let refused = site.bastion.admin_with(&["user", "key", "add", "justin", "--key", "-"], text).expect(2);
        assert!(refused.stderr.contains("--key: ") && refused.stdout.is_empty(), "{refused:?}");
    }
    let listed = site.bastion.admin(&["--json", "user", "key", "list", "justin"]).ok().json();
    assert_eq!(listed["keys"].as_array().map(Vec::len), Some(1));
}
