//! The packages hold what the manifest says, and are installed, upgraded, removed and purged on this very machine, in a
//! layer above its file system that is gone afterwards.

use std::collections::BTreeSet;
use std::process::Command;

use wgmfa_tests::program::run;

use crate::built::{Layer, NAMES, manifest, only, packages};

/// Plays the script, and lists what it has left in the layer.
const CHROOT: &str = "status=0; chroot root sh -eu /mnt/trial/script || status=$?; umount root/mnt/packages root/mnt/trial; \
                      find upper -type f -o -type l | sed 's|^upper||' | sort >\"$1/left\"; exit $status";

const SCRIPT: &str = r#"
exec 2>&1
said() { echo "== $*"; }
mkdir -p /etc/wireguard; echo '# a person wrote this' >/etc/wireguard/lab0.conf
cd /mnt/packages

said install
dpkg -i one/*.deb
test -x /usr/sbin/wgmfa-bastion; test -x /usr/sbin/wgmfa-agent; test -x /usr/bin/wgmfa
for enabled in wgmfa-bastion wgmfa-agent wgmfa-lock; do test -L /etc/systemd/system/multi-user.target.wants/$enabled.service; done
test ! -e /etc/systemd/system/timers.target.wants/wgmfa-rotate.timer
id -gn wgmfa | grep -qx wgmfa-front; getent group wgmfa wgmfa-sync
test "$(stat -c '%a %U %G' /usr/bin/wgmfa-sync)" = '2755 root wgmfa-sync'
visudo -c
test ! -e /etc/wgmfa/bastion.toml

said configure
wgmfa-bastion init >/dev/null
wgmfa-agent init --bastion bastion.example.net:2222 --host app-gw --print-key 2>/dev/null
wgmfa-agent new-key >/dev/null 2>&1
wgmfa-bastion check || true
echo 'description = "own"' >/etc/wgmfa/policy.d/101-own.toml
echo '# own' >>/etc/pam.d/wgmfa; echo '# own' >>/etc/wgmfa/client.toml
echo state >/var/lib/wgmfa/store; echo state >/var/lib/wgmfa-agent/state
own="/etc/wgmfa/* /etc/wgmfa/policy.d/* /etc/pam.d/wgmfa /var/lib/wgmfa/* /var/lib/wgmfa-agent/* /etc/wireguard/lab0.conf"
kept() { for file in $own; do test ! -f "$file" || { stat -c '%n %a %U' "$file"; cksum <"$file"; }; done; }
kept >/tmp/before

said upgrade
dpkg -i two/*.deb
kept >/tmp/after; cmp /tmp/before /tmp/after
test "$(stat -c '%a %G' /usr/bin/wgmfa-sync)" = '2755 wgmfa-sync'
test "$(dpkg-query -W -f '${Version}' wgmfa-bastion)" = 99.0.0-1

said remove
dpkg -r wgmfa-bastion wgmfa-agent wgmfa libpam-wgmfa
kept >/tmp/after; cmp /tmp/before /tmp/after
test ! -e /usr/sbin/wgmfa-bastion; test ! -e /usr/bin/wgmfa

said purge
dpkg -P wgmfa-bastion wgmfa-agent wgmfa libpam-wgmfa
rm /tmp/before /tmp/after
dpkg-statoverride --list | grep wgmfa && exit 1
if dpkg-query -W -f '${Package} ${db:Status-Status}\n' '*wgmfa*' 2>/dev/null | grep -v not-installed; then exit 1; fi
"#;

#[test]
fn packages_are_installed_upgraded_removed_and_purged() {
    for name in NAMES {
        let listed = run(Command::new("dpkg-deb").arg("-c").arg(only(&packages().join("one"), name)), b"").ok().stdout;
        let files = listed.lines().filter(|line| !line.ends_with('/')).map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(fields[1], "root/root", "{line}");
            (fields[0].to_owned(), fields[5].trim_start_matches('.').to_owned())
        });
        // of the packages alone
        let documents = ["doc/NAME/copyright", "doc/NAME/changelog.Debian.gz", "lintian/overrides/NAME"]
            .map(|path| format!("/usr/share/{}", path.replace("NAME", name)));
        let found: BTreeSet<_> = files.filter(|(_, path)| !documents.contains(path)).collect();
        let wanted = manifest().into_iter().filter(|(package, ..)| package == name);
        let wanted: BTreeSet<_> = wanted.map(|(_, mode, to)| (rights(&mode).to_owned(), place(&to))).collect();
        assert_eq!(found, wanted, "{name}");
    }

    let layer = Layer::new(SCRIPT);
    let played = layer.run(CHROOT).ok();
    for said in [
        "wgmfa-bastion: not configured, so not started; next: wgmfa-bastion init",
        "wgmfa-agent: not configured, so not started; next: wgmfa-agent init",
        "wgmfa-agent: peers under a policy stay locked without it",
        "wgmfa-bastion: left: /etc/wgmfa/policy.d/101-own.toml\n",
        "wgmfa-bastion: left: the user wgmfa",
        "wgmfa-agent: left: the interfaces and their files as they are",
        "wgmfa: left: the group wgmfa",
    ] {
        assert_eq!(played.stdout.matches(said).count(), 1, "{said}: {}", played.stdout);
    }
    let left = layer.read("left");
    let accounts = ["passwd", "group", "shadow", "gshadow", "subuid", "subgid", ".pwd.lock"];
    let left = left.lines().filter(|path| {
        let account = accounts.iter().any(|name| path.trim_end_matches('-') == format!("/etc/{name}"));
        // what package management and man-db keep for themselves
        !account
            && !path.starts_with("/var/lib/dpkg/")
            && !path.starts_with("/var/log/")
            && !path.starts_with("/var/cache/")
    });
    assert_eq!(left.collect::<Vec<_>>(), ["/etc/wgmfa/policy.d/101-own.toml", "/etc/wireguard/lab0.conf"]);
}

/// A mode of the manifest as `dpkg-deb -c` lists it. The group of a set-group-id program is made on the machine.
fn rights(mode: &str) -> &'static str {
    match mode.trim_end_matches('@') {
        "0755" | "2755" => "-rwxr-xr-x",
        "0644" => "-rw-r--r--",
        "0440" => "-r--r-----",
        other => panic!("mode {other}"),
    }
}

/// A destination of the manifest in a package; pages are compressed.
fn place(to: &str) -> String {
    let ended = run(Command::new("dpkg-architecture").args(["-q", "DEB_HOST_MULTIARCH"]), b"").ok();
    let pam = format!("/lib/{}/security", ended.stdout.trim());
    let folders = [
        ("{bin}", "/usr/bin"),
        ("{sbin}", "/usr/sbin"),
        ("{lib}", "/usr/lib"),
        ("{share}", "/usr/share"),
        ("{units}", "/lib/systemd/system"),
        ("{etc}", "/etc"),
        ("{pam}", &pam),
    ];
    let path = folders.iter().find_map(|(name, folder)| Some(format!("{folder}{}", to.strip_prefix(name)?)));
    let path = path.unwrap_or_else(|| panic!("{to}"));
    if path.contains("/man/") { format!("{path}.gz") } else { path }
}
