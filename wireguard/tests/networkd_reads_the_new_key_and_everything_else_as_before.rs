//! systemd-networkd itself as the judge. It makes kernel interfaces and no others, so this does something only where
//! `make test-kernel` runs it: in the virtual machine.

mod lab;
mod shapes;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Namespace, prefix, run};
use nix::unistd::Group;
use wgmfa_core::key::PublicKey;
use wgmfa_wireguard::conf::{ConfigFile, Format};

/// How long an emulated machine may take for a hundred interfaces. Only a failing test waits for so long.
const PATIENCE: Duration = Duration::from_secs(150);

/// The daemon; gone when dropped.
struct Networkd(Child);

impl Drop for Networkd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Of each interface what `wg show all dump` says, line by line, without the interface's name and port.
fn dump(namespace: &Namespace) -> BTreeMap<String, Vec<Vec<String>>> {
    let out = run(&["ip", "netns", "exec", &namespace.0, "wg", "show", "all", "dump"]);
    let mut interfaces = BTreeMap::<String, Vec<Vec<String>>>::new();
    for line in String::from_utf8(out.stdout).unwrap().lines() {
        let mut fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let name = fields.remove(0);
        if fields.len() == 4 {
            fields[2].clear();
        }
        interfaces.entry(name).or_default().push(fields);
    }
    interfaces.values_mut().for_each(|lines| lines[1..].sort());
    interfaces
}

#[test]
fn the_new_key_and_everything_else_as_before() {
    if std::env::var("WGMFA_TEST_WIREGUARD").as_deref() != Ok("kernel") {
        eprintln!("passed over: networkd makes kernel interfaces alone: make test-kernel");
        return;
    }
    let peer: PublicKey = shapes::A.parse().unwrap();
    let shapes: Vec<_> = shapes::shapes(Format::Networkd).into_iter().filter(|shape| shape.is_read).collect();
    let folder = tempfile::tempdir().unwrap();
    let group = Group::from_name("systemd-network").unwrap().expect("systemd is installed");
    let name = |number: usize, state: &str| format!("n{number}{state}");
    let replace = |bytes: &[u8], name: &str| {
        let at = bytes.windows(8).position(|window| window == b"Name=wg0").expect("each names its interface");
        [&bytes[..at + 5], name.as_bytes(), &bytes[at + 8..]].concat()
    };
    for (number, shape) in shapes.iter().enumerate() {
        let mut file = ConfigFile::parse(Format::Networkd, &shape.before);
        file.set_preshared_key(&peer, &shapes::NEW.parse().unwrap()).unwrap();
        for (state, bytes) in [("b", &shape.before), ("a", &file.render().to_vec())] {
            let path = folder.path().join(format!("{}.netdev", name(number, state)));
            fs::write(&path, replace(bytes, &name(number, state))).unwrap();
            chown(&path, Some(0), Some(group.gid.as_raw())).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        }
    }
    // it gives up root's rights before it reads
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let namespace = Namespace::add(format!("{}n", prefix()));
    let script = "mkdir -p /run/systemd && mount -t tmpfs tmpfs /run/systemd && mount --bind \"$1\" /etc/systemd/network && \
                  exec /lib/systemd/systemd-networkd";
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let daemon = Command::new("ip")
        .args(["netns", "exec", &namespace.0, "unshare", "--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let _networkd = Networkd(daemon);
    let has_peer = |lines: &Vec<Vec<String>>| lines.iter().any(|line| line[0] == shapes::A);
    let missing = || {
        let there = dump(&namespace);
        let names = (0..shapes.len()).flat_map(|number| [name(number, "b"), name(number, "a")]);
        names.filter(|name| !there.get(name).is_some_and(has_peer)).collect::<Vec<_>>()
    };
    let begun = Instant::now();
    while !missing().is_empty() {
        let log = || fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(begun.elapsed() < PATIENCE, "no peer on {:?}\n{}", missing(), log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let there = dump(&namespace);
    for (number, shape) in shapes.iter().enumerate() {
        let (title, before) = (shape.title, &there[&name(number, "b")]);
        let mut after = there[&name(number, "a")].clone();
        let place = |lines: &[Vec<String>]| lines.iter().position(|line| line[0] == shapes::A).unwrap();
        let file = ConfigFile::parse(Format::Networkd, &shape.before);
        assert_eq!(file.preshared_key(&peer), before[place(before)][1].parse().ok(), "{title}");
        let new = place(&after);
        assert_eq!(after[new][1], shapes::NEW, "{title}");
        after[new][1].clone_from(&before[place(before)][1]);
        assert_eq!(&after, before, "{title}");
    }
}
