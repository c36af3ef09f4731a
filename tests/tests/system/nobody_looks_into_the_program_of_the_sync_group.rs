//! `wgmfa-sync` is set-group-id: so other processes of the same person cannot look into it, and the keeper's socket answers
//! it alone.

use wgmfa_tests::program::run;
use wgmfa_tests::wait::{LONG, until};

use super::sshd;

/// ptrace(2) as perl calls it, which is on every Debian: the status is the error number. A first argument of `own` attaches
/// to a child of its own in place of a stranger.
const ATTACH: &str = "my %number = (x86_64 => 101, aarch64 => 117); my $machine = (POSIX::uname())[4];
my $pid = $ARGV[0] eq 'own' ? (fork() // die) : $ARGV[0];
if ($pid == 0) { sleep 30; exit 0 }
my $done = syscall($number{$machine}, 16, $pid + 0, 0, 0);
my $error = $done == 0 ? 0 : $! + 0;
kill 'KILL', $pid if $ARGV[0] eq 'own';
exit $error;";

const EPERM: i32 = 1;

#[test]
fn a_process_of_the_same_person_is_refused() {
    let (mut site, sshd) = sshd::site();
    site.host("app-gw").connect(false).wait_with_keys(&[site.justin.public_key()], 1);
    let mut subsystem = sshd.converse(&mut site.justin, sshd::CODE, &["-s", "bastion", "wgmfa-sync"]);
    subsystem.say(b"{\"version\": 1}\n");
    assert_eq!(subsystem.hear_json()["keys"].as_array().map(Vec::len), Some(1));
    // it has handed out the keys, and waits for the client's answer
    let pid = until("the program", LONG, || sshd.processes("wgmfa-sync").first().copied()).to_string();
    let attach = |target: &str| run(sshd.as_user("justin").args(["perl", "-MPOSIX", "-e", ATTACH, target]), b"");
    attach("own").ok();
    attach(&pid).expect(EPERM);
    for file in ["mem", "environ", "maps", "fd/3"] {
        let path = format!("/proc/{pid}/{file}");
        let looked = run(sshd.as_user("justin").args(["head", "-c", "1", &path]), b"").expect(1);
        assert!(looked.stderr.contains("Permission denied"), "{looked:?}");
    }
    subsystem.hush();
    subsystem.end();
}

#[test]
fn a_copy_of_it_without_the_group_is_refused() {
    let (mut site, sshd) = sshd::site();
    site.host("app-gw").connect(false).wait_with_keys(&[site.justin.public_key()], 1);
    let master = sshd.master(&mut site.justin);
    let copy = master.ssh(&["bastion", "a-copy", "--format", "tsv"]).expect(1);
    assert_eq!(copy.stdout, "");
    let words = "wgmfa-sync: error: /run/wgmfa/people.sock: Permission denied (os error 13)\n";
    assert!(copy.stderr.contains(words), "{copy:?}");
    assert!(copy.stderr.contains("hint: this program is to be set-group-id"), "{copy:?}");
    // whoever was put into the group, against all advice, is still not the program
    let id = ["--reuid=4242", "--regid=4242", "--groups=4299"];
    let member = run(sshd.inside().arg("setpriv").args(id).args(["/usr/local/bin/a-copy", "x"]), b"").expect(5);
    assert!(member.stderr.contains("the bastion has hung up"), "{member:?}");
    assert_eq!(site.count("released"), 0);
}
