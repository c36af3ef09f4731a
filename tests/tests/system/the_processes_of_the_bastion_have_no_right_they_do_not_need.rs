//! The front holds sockets and nothing else. A PAM module runs as root, and still gets at nothing of the keeper's.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::Pid;
use wgmfa_tests::bastion::{Bastion, PASSWORD};
use wgmfa_tests::daemon::Daemon;
use wgmfa_tests::program::{ours, run};
use wgmfa_tests::wait::{LONG, until};

use super::site::Site;

/// What the kernel says of a process.
fn status(pid: Pid) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.into(), value.trim().into()))
        .collect()
}

fn front_of(bastion: &Bastion) -> Pid {
    let serve = bastion.serve.as_ref().expect("it runs").pid();
    let children = std::fs::read_to_string(format!("/proc/{serve}/task/{serve}/children")).expect("it runs");
    let mut children = children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw);
    children.find(|pid| command_line(*pid).contains("front")).expect("the keeper has a front")
}

fn command_line(pid: Pid) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// What a process has open.
fn descriptors(pid: Pid) -> Vec<String> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
    folder.map(|fd| std::fs::read_link(fd.path()).unwrap_or_default().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_front_is_nobody_and_holds_sockets() {
    let mut site = Site::new();
    let _session = site.justin.master(); // it serves somebody
    let front = front_of(&site.bastion);
    let status = status(front);
    let ids: Vec<_> = ["Uid", "Gid"].iter().flat_map(|name| status[*name].split_whitespace()).collect();
    assert!(!ids.contains(&"0"), "{ids:?}");
    assert_eq!(status["Groups"], "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&status[set], 16), Ok(0), "{set}");
    }
    // the bounding set may be full: under no_new_privs nothing comes back out of it
    assert_eq!((status["NoNewPrivs"].as_str(), status["Seccomp"].as_str()), ("1", "2"));

    let open = descriptors(front);
    let allowed = ["socket:[", "anon_inode:[event", "/dev/null"];
    let others: Vec<_> = open.iter().filter(|fd| !allowed.iter().any(|allowed| fd.starts_with(allowed))).collect();
    assert!(others.len() <= 1 && others.iter().all(|fd| fd.starts_with("pipe:[")), "its log, and no file: {open:?}");

    let environment = std::fs::read(format!("/proc/{front}/environ")).unwrap();
    assert!(environment.is_empty() || environment == b"TZ=UTC\0", "{}", String::from_utf8_lossy(&environment));

    // what its user may do with the keeper's files, if it came out of its sandbox
    let uid = ids[0].to_owned();
    let folder = site.bastion.folder();
    for name in ["state", "state/wgmfa.db", "sealing.key", "ssh_host_ed25519_key", "run/admin.sock", "run/keeper.sock"]
    {
        let path = folder.join(name);
        assert!(path.exists(), "{name}");
        let mut test = site.bastion.machine.command("setpriv");
        test.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "sh", "-c", "[ -r \"$0\" ] || [ -w \"$0\" ]"]);
        assert_ne!(run(test.arg(&path), b"").code(), 0, "{name}");
    }
    // the folder itself is reachable, or the test above would say nothing
    let mut test = site.bastion.machine.command("setpriv");
    test.args(["--reuid", &uid, "--clear-groups", "cat"]).arg(folder.join("bastion.toml"));
    run(&mut test, b"").ok();
}

/// A hostile module: each line of its report is something that it got at. It is started by pam_exec(8), as root.
const MODULE: &str = r#"#!/bin/bash
cd "$(dirname "$0")" || exit 1
exec >report 2>/dev/null
state=$PWD/bastion/state
keys="$PWD/bastion/sealing.key $PWD/bastion/ssh_host_ed25519_key"
keeper=$(cat keeper) weak=$(cat weak)
env -0 | tr '\0' '\n' | sed 's/^/env /'
grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs)' /proc/self/status | sed 's/^/status /'
look() { # where the root of the file system is, what to call it
  [ -z "$(ls -A "$1$state")" ] || echo "got the store, $2"
  for key in $keys; do [ -z "$(head -c 1 "$1$key" | tr '\0' x)" ] || echo "got $key, $2"; done
}
look "" directly
for pid in 1 $PPID $keeper $weak; do look "/proc/$pid/root" "through process $pid"; done
[ -z "$(head -c 1 "/proc/$keeper/environ" | tr '\0' x)" ] || echo "got the keeper's environment"
[ -z "$(head -c 1 "/proc/$weak/environ" | tr '\0' x)" ] || echo "got another process's environment"
for fd in /proc/$keeper/fd/*; do readlink "$fd" && echo "got the keeper's descriptors"; done
: <"/proc/$keeper/mem" && echo "got the keeper's memory"
kill -0 "$keeper" && echo "got a signal to the keeper"
kill -0 "$weak" && echo "got a signal to another process"
for path in "$state" $keys "$PWD/bastion/run/admin.sock"; do
  umount -l "$path" && echo "got the cover off $path"
  mount --bind / "$path" && echo "got a mount over $path"
done
look "" "without the cover"
nsenter -t "$keeper" -m true && echo "got into the keeper's namespace"
nsenter -t "$weak" -m true && echo "got into another namespace"
unshare -m sh -c 'umount -l "$0" && ls -A "$0"/*' "$state" && echo "got the store, in a namespace"
unshare -Urm sh -c 'umount -l "$0" && ls -A "$0"/*' "$state" && echo "got the store, in a user's namespace"
mknod disk b 254 0 && echo "got a device"
./program --config "$PWD/bastion/bastion.toml" user list && echo "got an administrator's answer"
touch marker && mv marker bastion/marker && echo "can rename between folders"
head -c 1 /etc/shadow >/dev/null && echo "can read shadow"
echo "done"
"#;

/// Landlock knows signals from Linux 6.12 on.
fn signals_are_fenced_off() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs");
    let numbers: Vec<u32> = release.split(['.', '-']).take(2).filter_map(|number| number.parse().ok()).collect();
    numbers >= vec![6, 12]
}

#[test]
fn a_pam_module_gets_at_nothing_of_the_keepers() {
    let mut site = Site::with(
        |_| {},
        |bastion| {
            let module = bastion.machine.write("module", MODULE);
            std::fs::set_permissions(&module, PermissionsExt::from_mode(0o700)).unwrap();
            let service = bastion.folder().join("pam.d/wgmfa");
            let stack = std::fs::read_to_string(&service).unwrap();
            let exec = format!("auth optional pam_exec.so quiet seteuid {}\n", module.display());
            std::fs::write(&service, format!("{stack}{exec}")).unwrap();
        },
    );
    let machine = std::sync::Arc::clone(&site.bastion.machine);
    let serve = site.bastion.serve.as_ref().unwrap().pid();
    // a process of root without any capability: others can look into it without any, too
    let bounded = ["--inh-caps=-all", "--bounding-set=-all", "sleep", "600"];
    let weak = Daemon::start(machine.command("setpriv").args(bounded));
    machine.write("keeper", &serve.to_string());
    machine.write("weak", &weak.pid().to_string());
    std::os::unix::fs::symlink(ours("wgmfa-bastion"), machine.path("program")).unwrap();
    let through_weak = format!("/proc/{}/root{}", weak.pid(), site.bastion.folder().join("state").display());
    until("a process without capabilities", LONG, || {
        (status(weak.pid())["CapPrm"] == "0000000000000000").then_some(())
    });
    assert!(Path::new(&through_weak).join("wgmfa.db").exists(), "the way through it is open to root");

    let code = site.justin.fresh_code();
    site.justin.laptop.set_code(&code);
    site.justin.laptop.ssh_as_set(&["wgmfa-status"]).ok();
    let report = std::fs::read_to_string(machine.path("report")).unwrap();
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(lines.last(), Some(&"done"), "{report}");
    let fenced = |line: &&&str| signals_are_fenced_off() || !line.starts_with("got a signal ");
    let got: Vec<_> = lines.iter().filter(|line| line.starts_with("got ")).filter(fenced).collect();
    assert!(got.is_empty(), "{got:#?}");
    for can in ["can rename between folders", "can read shadow"] {
        assert!(lines.contains(&can), "modules go on as before: {report}");
    }

    // CAP_CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID, AUDIT_WRITE at most
    let kept = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 6 | 1 << 7 | 1 << 29;
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let line = lines.iter().find_map(|line| line.strip_prefix(&format!("status {set}:"))).unwrap();
        let had = u64::from_str_radix(line.trim(), 16).unwrap();
        assert_eq!(had & !kept, 0, "{set}: {line}");
    }
    assert!(lines.contains(&"status NoNewPrivs:\t1"), "{report}");

    // pam_exec(8) gives what PAM knows; nothing is inherited
    let known = ["PAM_", "PWD=", "OLDPWD=", "SHLVL=", "_=", "TZ="];
    for line in lines.iter().filter_map(|line| line.strip_prefix("env ")) {
        assert!(known.iter().any(|name| line.starts_with(name)), "{line}");
        assert!(![PASSWORD, &code].iter().any(|secret| line.contains(secret)), "{line}");
    }
    assert!(site.bastion.folder().join("state/wgmfa.db").exists(), "nobody else is covered");
}

#[test]
fn the_keeper_lets_nobody_look_into_it() {
    let mut site = Site::new();
    site.bastion.stop();
    // as a unit does it: root may trace nobody, so that the keeper has no more rights than who wants to look into it
    let without = ["--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"];
    let mut serve = site.bastion.machine.command("setpriv");
    serve.args(without).args(["sh", "-c", r#"exec "$0" "$@" 7</etc/hostname"#]).arg(ours("wgmfa-bastion"));
    serve.arg("--config").arg(site.bastion.folder().join("bastion.toml")).arg("serve");
    let serve = Daemon::start(&mut serve);
    let pid = serve.pid();
    serve.await_line("listening on");
    site.bastion.serve = Some(serve);
    let look = |pid: Pid| {
        let mut look = site.bastion.machine.command("setpriv");
        look.args(without).args(["sh", "-c", &format!("readlink /proc/{pid}/fd/0")]);
        run(&mut look, b"").code()
    };
    assert_ne!(look(pid), 0);
    // nor does what the keeper was started with go on to the front
    assert!(descriptors(pid).contains(&"/etc/hostname".to_owned()));
    assert!(!descriptors(front_of(&site.bastion)).contains(&"/etc/hostname".to_owned()));
    let beside = Daemon::start(site.bastion.machine.command("setpriv").args(without).args(["sleep", "600"]));
    until("a look into another process", LONG, || (look(beside.pid()) == 0).then_some(()));
}
