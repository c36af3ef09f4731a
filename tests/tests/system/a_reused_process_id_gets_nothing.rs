//! A session's process is known by more than its number: whoever gets that number after it has ended gets no keys.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wgmfa_tests::program::run;
use wgmfa_tests::wait::{LONG, until};

use super::site::Site;
use super::sshd::{self, Sshd, becoming};

/// Takes process ids until it has the wanted one, and asks from there. The next process gets the number after this one
/// (proc_sys_kernel(5)), unless another process was faster.
const TAKE: &str = "wanted=$1; shift
for try in $(seq 500); do
    echo $((wanted - 1)) >/proc/sys/kernel/ns_last_pid
    \"$@\" &
    if [ $! = $wanted ]; then wait $!; exit; fi
    kill $! 2>/dev/null; wait $! 2>/dev/null
done
exit 99";

/// Runs as that process, with the program as its child.
const ASK: &str = "sleep 0.2; /usr/local/bin/wgmfa-sync --format tsv; status=$?; echo asked by $$ >&2; exit $status";

#[test]
fn of_a_session_that_was_killed() {
    let mut site = Site::with(sshd::own_people, sshd::by_sshd);
    site.host("app-gw").connect(false).wait_with_keys(&[site.justin.public_key()], 1);
    site.justin.laptop.set_password(sshd::PASSWORD);
    site.bastion.stop();
    let sshd = Sshd::start_with_bastion(&site.bastion);
    let master = sshd.master(&mut site.justin);
    let session = master.session();
    let number = own_number(session);
    // no hook tells the keeper of this end
    kill(Pid::from_raw(session), Signal::SIGKILL).unwrap();
    drop(master);
    // its number is free when no process of its session is left; sshd itself still listens
    until("the session's end", LONG, || (sshd.processes("sshd").len() == 1).then_some(()));
    let mut attack = sshd.inside_its_processes();
    attack.args(["sh", "-c", TAKE, "sh", &number.to_string(), "setpriv", "--clear-groups"]);
    let ended = run(attack.args(becoming("justin")).args(["sh", "-c", ASK]), b"").expect(3);
    assert!(ended.stderr.contains(&format!("asked by {number}\n")), "{ended:?}");
    assert_eq!(ended.stdout, "");
    assert_eq!(site.count("released"), 0);
    let log = site.bastion.log("release-refused");
    let reason = "wgmfa-sync on this machine: the process descends from no session that was opened here lately";
    assert_eq!((log.len(), &log[0]["reason"]), (1, &reason.into()), "{log:#?}");
}

/// The number of a process among its own (the last one of `NSpid` in proc_pid_status(5)).
fn own_number(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    let number = numbers.split_whitespace().last().and_then(|number| number.parse().ok()).unwrap();
    assert_ne!(number, pid, "it has process ids of its own");
    number
}
