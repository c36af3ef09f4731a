//! `--save` with an interface of systemd-networkd or NetworkManager. The machine's own `/etc` is covered by another.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use wgmfa_tests::machine::write_private;
use wgmfa_tests::program::{Ended, run};
use wgmfa_tests::tunnel::genkey;

use crate::scene::Scene;

/// A scene whose programs have another `/etc`.
struct Covered {
    scene: Scene,
    etc: PathBuf,
}

impl Covered {
    fn new() -> Self {
        let scene = Scene::new();
        let etc = scene.machine.path("etc");
        std::fs::create_dir(&etc).unwrap();
        // what programs need of it; the rest may change while it is copied
        for name in ["alternatives", "group", "hosts", "ld.so.cache", "localtime", "nsswitch.conf", "passwd"] {
            let from = Path::new("/etc").join(name);
            if from.exists() {
                run(Command::new("cp").arg("-a").args([&from, &etc]), b"").ok();
            }
        }
        for folder in ["wireguard", "systemd/network", "NetworkManager/system-connections"] {
            std::fs::create_dir_all(etc.join(folder)).unwrap();
        }
        Self { scene, etc }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.etc.join(name);
        write_private(&path, text);
        path
    }

    /// `wgmfa sync --save` while the bastion releases a key for the first peer, which is returned.
    fn save(&self) -> (Ended, String) {
        let (key, preshared_key) = self.scene.key(0, 7);
        self.scene.bastion_answers(&format!("{}\n", self.scene.release(&[key])));
        let mut command = self.scene.machine.command("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc && exec \"$@\""]).arg(&self.etc);
        command.arg(env!("CARGO_BIN_EXE_wgmfa")).args(["sync", "bastion", "--save"]);
        command.env("PATH", self.scene.path()).env("HOME", self.scene.machine.folder()).env_remove("SUDO_UID");
        (run(&mut command, b""), preshared_key)
    }

    fn netdev(&self) -> String {
        let name = &self.scene.tunnel.name;
        let peer = &self.scene.peers[0];
        format!("[NetDev]\nName={name}\nKind=wireguard\n\n[WireGuardPeer] \n# the office\nPublicKey = {peer}\n")
    }

    fn connection(&self) -> String {
        let (name, peer) = (&self.scene.tunnel.name, &self.scene.peers[0]);
        format!(
            "[connection]\nid=Office\ntype=wireguard\ninterface-name={name}\n\n[wireguard-peer.{peer}]\npreshared-key={}\n",
            genkey()
        )
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn in_a_netdev_file() {
    let covered = Covered::new();
    let file = covered.write("systemd/network/50-office.netdev", &covered.netdev());
    let (ended, key) = covered.save();
    assert!(ended.ok().stdout.ends_with(", saved\n"));
    assert_eq!(read(&file), format!("{}PresharedKey = {key}\n", covered.netdev()));
    assert_eq!(covered.scene.preshared_keys()[0], key);
}

#[test]
fn in_a_connection_of_networkmanager() {
    let covered = Covered::new();
    let text = covered.connection();
    let file = covered.write("NetworkManager/system-connections/Office.nmconnection", &text);
    let (ended, key) = covered.save();
    assert!(ended.ok().stdout.ends_with(", saved\n"));
    let before = text.lines().last().unwrap();
    let expected = text.replace(&format!("{before}\n"), &format!("preshared-key={key}\npreshared-key-flags=0\n"));
    assert_eq!(read(&file), expected);
}

#[test]
fn what_cannot_be_saved_is_named_and_the_tunnel_is_open_all_the_same() {
    let covered = Covered::new();
    let file = covered.write("systemd/network/50-office.netdev", &covered.netdev());
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let (ended, key) = covered.save();
    let expected = ": not saved: /etc/systemd/network/50-office.netdev: everybody on this machine can read it \
                    (chown root:systemd-network ";
    let ended = ended.expect(6);
    assert!(ended.stderr.contains(expected), "{ended:?}");
    assert_eq!(read(&file), covered.netdev());
    assert_eq!(covered.scene.preshared_keys()[0], key);

    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    covered.write("NetworkManager/system-connections/Office.nmconnection", &covered.connection());
    let (ended, _) = covered.save();
    let expected = "is configured in 2 places: /etc/systemd/network/50-office.netdev, \
                    /etc/NetworkManager/system-connections/Office.nmconnection (move away all but the one that is used)";
    let ended = ended.expect(6);
    assert!(ended.stderr.contains(expected), "{ended:?}");
    assert_eq!(read(&file), covered.netdev());
}
