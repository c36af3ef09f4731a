//! The packages hold what the manifest says, and are installed, upgraded, removed and purged on this very machine, in a
//! layer above its file system that is gone afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wgmfa_tests::program::{Ended, folder, ours, run};

/// The packages, by their names.
const NAMES: [&str; 4] = ["libpam-wgmfa", "wgmfa", "wgmfa-agent", "wgmfa-bastion"];

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The lines of the manifest whose source is there: package, mode, destination.
fn manifest() -> Vec<(String, String, String)> {
    let text = fs::read_to_string(tree().join("packaging/manifest")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let there = |fields: &Vec<String>| {
        !fields[1].ends_with('?') || folder().join(fields[2].strip_prefix("built/").unwrap()).exists()
    };
    fields.filter(there).map(|mut fields| (fields.remove(0), fields.remove(0), fields.remove(1))).collect()
}

/// Packages of the built programs, with a minimum of compression.
fn packages(to: &Path) {
    ours("wgmfa-bastion");
    let made = to.join("made");
    wgmfa_packaging::write(&made).unwrap();
    let mut deb = Command::new(tree().join("packaging/deb"));
    deb.arg("--built").arg(folder()).arg("--made").arg(&made).arg("--to").arg(to.join("one"));
    run(deb.env("DEB_COMPRESSION", "-Znone"), b"").ok();
    // the same under a higher version
    fs::create_dir(to.join("two")).unwrap();
    for name in NAMES {
        let one = only(&to.join("one"), name);
        let raw = to.join("raw").join(name);
        run(Command::new("dpkg-deb").arg("-R").arg(&one).arg(&raw), b"").ok();
        let control = fs::read_to_string(raw.join("DEBIAN/control")).unwrap();
        assert!(control.contains("0.1.0-1"), "{control}");
        fs::write(raw.join("DEBIAN/control"), control.replace("0.1.0-1", "0.2.0-1")).unwrap();
        let two = to.join("two").join(format!("{name}.deb"));
        run(Command::new("dpkg-deb").args(["-Znone", "--root-owner-group", "-b"]).arg(&raw).arg(two), b"").ok();
    }
}

/// The file of a package.
fn only(folder: &Path, name: &str) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let begins = format!("{name}_");
    let mut found = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&begins));
    let path = found.find(|path| path.extension().is_some_and(|end| end == "deb"));
    path.unwrap_or_else(|| panic!("no package {name}"))
}

/// Runs a script in a layer above the machine's file system; `layer` keeps what it leaves there.
fn in_a_layer(to: &Path, script: &str) -> Ended {
    fs::write(to.join("script"), script).unwrap();
    let outside = "set -e; mount -t tmpfs none \"$1/layer\"; cd \"$1/layer\"; mkdir upper work root; \
                   mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root; \
                   mkdir -p root/mnt/packages; mount --bind \"$1\" root/mnt/packages; mount -t proc proc root/proc; \
                   mount -t devtmpfs none root/dev 2>/dev/null || mount --rbind /dev root/dev; \
                   status=0; chroot root sh -eu /mnt/packages/script || status=$?; umount root/mnt/packages; \
                   find upper -type f -o -type l | sed 's|^upper||' | sort >\"$1/left\"; exit $status";
    fs::create_dir_all(to.join("layer")).unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", outside, "sh"]).arg(to);
    run(unshare.env("DEBIAN_FRONTEND", "noninteractive").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), b"")
}

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
if [ -e /usr/bin/wgmfa-sync ]; then stat -c 'helper: %a %G' /usr/bin/wgmfa-sync; fi
visudo -c
test ! -e /etc/wgmfa/bastion.toml

said configure
wgmfa-bastion init >/dev/null
wgmfa-agent init --bastion bastion.example.net:2222 --host app-gw --print-key 2>/dev/null
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
test "$(dpkg-query -W -f '${Version}' wgmfa-bastion)" = 0.2.0-1

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
    let to = tempfile::tempdir().unwrap();
    packages(to.path());

    for name in NAMES {
        let listed = run(Command::new("dpkg-deb").arg("-c").arg(only(&to.path().join("one"), name)), b"").ok().stdout;
        let files = listed.lines().filter(|line| !line.ends_with('/')).map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(fields[1], "root/root", "{line}");
            (fields[0].to_owned(), fields[5].trim_start_matches('.').to_owned())
        });
        let documents =
            [format!("/usr/share/doc/{name}/copyright"), format!("/usr/share/doc/{name}/changelog.Debian.gz")];
        let found: BTreeSet<_> = files.filter(|(_, path)| !documents.contains(path)).collect();
        let wanted = manifest().into_iter().filter(|(package, ..)| package == name);
        let wanted: BTreeSet<_> = wanted.map(|(_, mode, to)| (rights(&mode).to_owned(), place(&to))).collect();
        assert_eq!(found, wanted, "{name}");
    }

    let played = in_a_layer(to.path(), SCRIPT).ok();
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
    if folder().join("wgmfa-sync").exists() {
        assert!(played.stdout.contains("helper: 2755 wgmfa-sync\n"), "{}", played.stdout);
    }
    let left = fs::read_to_string(to.path().join("left")).unwrap();
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
    match mode.trim_end_matches(['@', '?']) {
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

#[test]
fn other_systems_install_and_uninstall_by_the_same_list() {
    let to = tempfile::tempdir().unwrap();
    wgmfa_packaging::write(&to.path().join("made")).unwrap();
    let root = to.path().join("root");
    let install = |words: &[&str]| {
        let mut install = Command::new(tree().join("packaging/install"));
        install.arg("--built").arg(folder()).arg("--made").arg(to.path().join("made")).args(words);
        run(install.env("DESTDIR", &root).env("PREFIX", "/opt/wgmfa").env("PAMDIR", "/lib/security"), b"").ok()
    };
    let files = || {
        let listed = run(Command::new("find").arg(&root).args(["-type", "f", "-printf", "/%P\n"]), b"").ok().stdout;
        listed.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    install(&[]);
    assert_eq!(files().len(), manifest().len(), "{:?}", files());
    let unit = fs::read_to_string(root.join("opt/wgmfa/lib/systemd/system/wgmfa-agent.service")).unwrap();
    assert!(unit.contains("\nExecStart=/opt/wgmfa/sbin/wgmfa-agent run\n"), "{unit}");
    let rules = fs::read_to_string(root.join("etc/sudoers.d/wgmfa")).unwrap();
    assert!(rules.contains("NOPASSWD: /opt/wgmfa/bin/wgmfa apply, /opt/wgmfa/bin/wgmfa interfaces"), "{rules}");

    fs::write(root.join("etc/wgmfa/client.toml"), "# own\n").unwrap();
    let again = install(&[]).stdout;
    assert!(again.contains("left as it is: ") && again.contains("/etc/wgmfa/client.toml\n"), "{again}");
    assert_eq!(fs::read_to_string(root.join("etc/wgmfa/client.toml")).unwrap(), "# own\n");

    let left = install(&["--uninstall"]).stdout;
    let own: BTreeSet<_> =
        ["/etc/pam.d/wgmfa", "/etc/sudoers.d/wgmfa", "/etc/wgmfa/client.toml"].map(str::to_owned).into();
    assert_eq!(files(), own);
    assert_eq!(left.lines().count(), own.len(), "{left}");
}
