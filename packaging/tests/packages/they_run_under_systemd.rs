//! The units of the packages do their work within their sandboxes, under a systemd of their own: the first login, a reload, a
//! restart, a round by the timer's unit, a sealing key that is a credential, a daemon that hangs, an upgrade, the end.

use std::fs;
use std::path::PathBuf;

use crate::built::Layer;

/// Starts systemd in the layer, and with it the script.
const BOOT: &str = r#"
mount -t tmpfs tmpfs root/sys/fs/cgroup; mount -t cgroup2 cgroup2 root/sys/fs/cgroup
rm -f root/etc/systemd/system/*.wants/*
cat >root/etc/systemd/system/trial.service <<'end'
[Unit]
DefaultDependencies=no
After=basic.target
[Service]
Type=oneshot
StandardOutput=file:/mnt/trial/said
StandardError=file:/mnt/trial/said
ExecStart=/bin/sh -c 'sh -eu /mnt/trial/script; echo $? >/mnt/trial/status'
ExecStopPost=/bin/systemctl exit --force
end
cat >root/etc/systemd/system/trial.target <<'end'
[Unit]
Requires=basic.target trial.service
After=basic.target
end
exec env -i "PATH=$PATH" container=lxc chroot root /lib/systemd/systemd --unit=trial.target --show-status=no
"#;

const SCRIPT: &str = r#"
exec 2>&1
said() { echo "== $*"; }
until_true() { tries=600; until "$@" >/dev/null 2>&1; do tries=$((tries - 1)); [ $tries -gt 0 ] || { echo "in vain: $*"; exit 1; }; sleep 0.1; done; }
pid() { systemctl show --property=MainPID --value "$1"; }
state() { [ "$(wgmfa-bastion key list --json | grep -o "\"state\":\"[^\"]*\"")" = "\"state\":\"$1\"" ]; }
finish() { status=$?; [ $status = 0 ] || { systemctl --no-pager status 'wgmfa-*'; journalctl --no-pager --lines=60; }; exit $status; }
trap finish EXIT
ip link set lo up
cd /mnt/packages

said install
dpkg -i one/*.deb
test "$(systemctl is-active wgmfa-bastion wgmfa-agent | sort -u)" = inactive
wgmfa-bastion init >/dev/null
printf 'description = "d"\nrotation-interval = "1h"\nmfa = true\nserver-peers = ["app-gw/trial0"]\n' >/etc/wgmfa/policy.d/101-a.toml
systemctl start wgmfa-bastion
wgmfa-bastion check
ps -o user= -p "$(pgrep -f 'wgmfa-bastion front')" | grep -qx wgmfa

said the agent
wgmfa-agent init --bastion 127.0.0.1:2222 --host app-gw --known-host "$(wgmfa-bastion host-key)" --print-key >/tmp/key
wgmfa-bastion host add app-gw --key /tmp/key
mkdir -p -m 700 /etc/wireguard
umask 077; wg genkey >/tmp/laptop
printf '[Interface]\nPrivateKey = %s\n[Peer]\nPublicKey = %s\nAllowedIPs = 10.0.0.2/32\n' "$(wg genkey)" "$(wg pubkey </tmp/laptop)" \
    >/etc/wireguard/trial0.conf
wireguard-go trial0 >/dev/null 2>&1
wg setconf trial0 /etc/wireguard/trial0.conf
systemctl start wgmfa-agent
echo 'correct horse battery staple' | wgmfa-bastion --json user add justin --password-stdin >/dev/null
wgmfa-bastion device add laptop --owner justin --public-key "$(wg pubkey </tmp/laptop)"
until_true state Expired
until_true grep -q PresharedKey /etc/wireguard/trial0.conf

said a login
wgmfa-bastion host-key | sed 's/^[^ ]*/[127.0.0.1]:2222/' >/tmp/known
log_in() {
    wgmfa-bastion --json user code justin --reason trial >/tmp/code
    printf '#!/bin/sh\ncase "$1" in *assword*) echo "correct horse battery staple" ;; *) echo %s ;; esac\n' \
        "$(sed 's/.*"code":"\([^"]*\)".*/\1/' /tmp/code)" >/tmp/ask
    chmod 700 /tmp/ask
    DISPLAY=none SSH_ASKPASS=/tmp/ask SSH_ASKPASS_REQUIRE=force ssh -F none -o UserKnownHostsFile=/tmp/known \
        -o ConnectTimeout=10 -p 2222 justin@127.0.0.1 wgmfa-sync
}
log_in >/tmp/keys
wc -l </tmp/keys | grep -qx 1

said life
systemctl reload wgmfa-bastion
wgmfa-bastion sealing-key rotate
wgmfa-bastion host-key rotate >/dev/null
until_true sh -c 'test $(wc -l </etc/wgmfa/known_hosts) = 2'
until_true wgmfa-bastion host-key switch
wgmfa-bastion host-key retire
wgmfa-bastion host-key | sed 's/^[^ ]*/[127.0.0.1]:2222/' >/tmp/known
systemctl restart wgmfa-bastion
systemctl stop wgmfa-agent
systemctl start wgmfa-rotate.service
systemctl start wgmfa-lock.service
systemctl start wgmfa-agent

said a credential
mkdir -p /etc/credstore.encrypted
systemd-creds encrypt --with-key=host --name=wgmfa.sealing-key /etc/wgmfa/sealing.key /etc/credstore.encrypted/wgmfa.sealing-key
rm /etc/wgmfa/sealing.key
systemctl restart wgmfa-bastion
wgmfa-bastion check
wgmfa-bastion sealing-key rotate && exit 1
until_true log_in
test "$(wgmfa-bastion init | head -n 1)" = unchanged

said a daemon that hangs
for unit in wgmfa-bastion wgmfa-agent; do
    mkdir -p /run/systemd/system/$unit.service.d
    printf '[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n' >/run/systemd/system/$unit.service.d/soon.conf
done
systemctl daemon-reload
systemctl restart wgmfa-bastion wgmfa-agent
for unit in wgmfa-bastion wgmfa-agent; do
    before=$(pid $unit)
    kill -STOP "$before"
    until_true sh -c "p=\$(systemctl show --property=MainPID --value $unit); [ \$p != 0 ] && [ \$p != $before ]"
    until_true systemctl is-active $unit
done
rm -r /run/systemd/system/wgmfa-*.service.d
systemctl daemon-reload

said upgrade
before="$(pid wgmfa-bastion) $(pid wgmfa-agent)"
locked=$(systemctl show --property=ExecMainStartTimestampMonotonic wgmfa-lock)
dpkg -i two/*.deb
systemctl is-active wgmfa-bastion wgmfa-agent
for old in $before; do test "$old" != "$(pid wgmfa-bastion)"; test "$old" != "$(pid wgmfa-agent)"; done
test "$locked" = "$(systemctl show --property=ExecMainStartTimestampMonotonic wgmfa-lock)"

said the end
systemctl list-units --failed --no-legend --plain 'wgmfa-*'
test -z "$(systemctl list-units --failed --no-legend --plain 'wgmfa-*')"
test -z "$(journalctl --quiet --grep='seccomp|SECCOMP')"
dpkg -r wgmfa-bastion wgmfa-agent wgmfa libpam-wgmfa
test -z "$(pgrep -f 'wgmfa-(bastion|agent)')"
dpkg -P wgmfa-bastion wgmfa-agent wgmfa libpam-wgmfa
said done
"#;

/// A control group of its own for the trial: systemd makes groups below the one in which it is started.
struct Group(Option<PathBuf>);

impl Group {
    fn new() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let found = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
        let group =
            found.map(|line| PathBuf::from(line.split(' ').nth(1).unwrap()).join(wgmfa_tests::machine::unique()));
        Self(group.filter(|group| fs::create_dir(group).is_ok()))
    }

    /// Has the shell that reads this go into the group.
    fn enter(&self) -> String {
        self.0.as_ref().map(|group| format!("echo $$ >{}/cgroup.procs; ", group.display())).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            let mut find = std::process::Command::new("find");
            let _ = find.arg(group).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]).status();
        }
    }
}

#[test]
fn each_unit_works_within_its_sandbox() {
    let group = Group::new();
    let layer = Layer::new(SCRIPT);
    let ended = layer.run_from(&group.enter(), BOOT);
    let (said, status) = (layer.read("said"), layer.read("status"));
    assert!(status == "0\n" && said.ends_with("== done\n"), "{status}{said}\n{ended:#?}");
}
