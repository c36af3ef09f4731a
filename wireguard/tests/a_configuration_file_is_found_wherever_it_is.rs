//! Which files configure an interface, what goes before what, and what is refused.

mod places;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use nix::unistd::Group;
use places::{FORMATS, OTHER, PEER, file, open, other, peer, random_key, root, said, set, text, text_with, write};
use wgmfa_wireguard::conf::Format;

const NETDEV: &str = "[NetDev]\nName=wg0\nKind=wireguard\n";

fn netdev(peer: &str) -> String {
    format!("{NETDEV}[WireGuardPeer]\nPublicKey={peer}\n")
}

/// What opening or setting is refused with.
fn refused(root: &Path) -> String {
    said(root, set(root, &random_key()).expect_err("refused"))
}

#[test]
fn several_files_for_one_interface_are_refused_and_named() {
    for (one, other) in [(0, 1), (1, 2), (0, 2)] {
        let root = root(FORMATS[one]);
        write(&file(root.path(), FORMATS[other]), &text(FORMATS[other]));
        let names = [one, other].map(|format| file(root.path(), FORMATS[format]).display().to_string()).join(", ");
        let failure = open(root.path()).unwrap_err();
        assert_eq!(failure.error, format!("wg0 is configured in 2 places: {names}"));
        assert_eq!(failure.hint.as_deref(), Some("move away all but the one that is used"));
    }
    let root = root(Format::Networkd);
    write(&root.path().join("run/network/20-other.netdev"), &text(Format::Networkd));
    let expected = "wg0 is configured in 2 places: ROOT/etc/network/10-office.netdev, ROOT/run/network/20-other.netdev";
    assert_eq!(refused(root.path()), expected);
}

#[test]
fn files_of_other_interfaces_and_kinds_are_passed_over() {
    let root = root(Format::Networkd);
    for (name, text) in [
        ("etc/network/other.netdev", text(Format::Networkd).replace("wg0", "wg1")),
        ("etc/network/bridge.netdev", "[NetDev]\nName=wg0\nKind=bridge\n".to_owned()),
        ("etc/network/case.netdev", "[netdev]\nName=wg0\nKind=wireguard\n".to_owned()),
        ("etc/network/wg0.network", netdev(PEER)),
        ("etc/network/.hidden.netdev", netdev(PEER)),
        ("etc/network/empty.netdev", String::new()),
        ("usr/network/empty.netdev", netdev(PEER)),
        ("etc/nm/wlan", "[connection]\ntype=wifi\ninterface-name=wg0\n".to_owned()),
        ("etc/nm/other", text(Format::NetworkManager).replace("=wg0", "=wg00")),
        ("etc/nm/wg0.nmconnection~", text(Format::NetworkManager)),
        ("etc/nm/.wg0.nmconnection", text(Format::NetworkManager)),
        ("usr/nm/wg0", text(Format::NetworkManager)),
        ("etc/wireguard/wg0.conf.bak", text(Format::WgQuick)),
    ] {
        write(&root.path().join(name), &text);
    }
    symlink("/dev/null", root.path().join("etc/network/masked.netdev")).unwrap();
    write(&root.path().join("usr/network/masked.netdev"), &netdev(PEER));
    symlink("nowhere", root.path().join("etc/network/dangling.netdev")).unwrap();
    let key = random_key();
    assert_eq!(set(root.path(), &key), Ok(true));
    let written = fs::read_to_string(file(root.path(), Format::Networkd)).unwrap();
    assert_eq!(written, text_with(Format::Networkd, &key));
}

#[test]
fn the_administrators_folder_goes_before_the_others_and_a_packages_file_is_never_changed() {
    let root = tempfile::tempdir().unwrap();
    let place = |top: &str| root.path().join(top).join("network/wg.netdev");
    write(&place("usr"), &netdev(PEER));
    let failure = set(root.path(), &random_key()).unwrap_err();
    let hint = failure.hint.clone().unwrap();
    let expected = "ROOT/usr/network/wg.netdev:4: a file of the system's packages, which wgmfa does not change";
    assert_eq!(said(root.path(), failure), expected);
    assert_eq!(hint, "copy it to the folder under /etc, which goes before it, and change it there");
    assert_eq!(fs::read_to_string(place("usr")).unwrap(), netdev(PEER));

    write(&place("run"), &netdev(PEER));
    assert_eq!(set(root.path(), &random_key()), Ok(true));
    let gone = open(root.path()).unwrap().unwrap().gone_after_reboot(&peer()).unwrap();
    assert_eq!(said(root.path(), gone), "ROOT/run/network/wg.netdev: the file is gone after a reboot");

    write(&place("etc"), &netdev(PEER));
    let in_run = fs::read_to_string(place("run")).unwrap();
    assert_eq!(set(root.path(), &random_key()), Ok(true));
    assert!(open(root.path()).unwrap().unwrap().gone_after_reboot(&peer()).is_none());
    assert_eq!(fs::read_to_string(place("run")).unwrap(), in_run);

    let manager = tempfile::tempdir().unwrap();
    let text = text(Format::NetworkManager).replace("id=", "uuid=1-2\nid=");
    write(&manager.path().join("usr/nm/wg0.nmconnection"), &text);
    assert!(refused(manager.path()).starts_with("ROOT/usr/nm/wg0.nmconnection:8: a file of the system's packages"));
    write(&manager.path().join("etc/nm/wg0-changed.nmconnection"), &text);
    assert_eq!(set(manager.path(), &random_key()), Ok(true), "the same uuid");
    assert_eq!(fs::read_to_string(manager.path().join("usr/nm/wg0.nmconnection")).unwrap(), text);
}

#[test]
fn what_networkmanager_notes_of_an_interface_of_others_is_no_second_place() {
    for meta in ["nm-generated=true", "volatile=true\nexternal=true"] {
        let root = root(Format::WgQuick);
        let noted = root.path().join("run/nm/wg0.nmconnection");
        let note = format!("[connection]\nid=wg0\ntype=wireguard\ninterface-name=wg0\n\n[.nmmeta]\n{meta}\n");
        write(&noted, &note);
        assert_eq!(set(root.path(), &random_key()), Ok(true));
        assert_eq!(fs::read_to_string(&noted).unwrap(), note);
        write(&noted, &note.replace("true", "false"));
        assert!(refused(root.path()).starts_with("wg0 is configured in 2 places"));
    }
}

#[test]
fn peers_and_names_may_be_dropped_in() {
    let root = tempfile::tempdir().unwrap();
    let network = |name: &str| root.path().join(name);
    write(&network("usr/network/50-vpn.netdev"), &netdev(OTHER).replace("wg0", "vpn"));
    write(&network("etc/network/50-vpn.netdev.d/10-name.conf"), "[NetDev]\nName=wg0\n");
    write(&network("usr/network/50-vpn.netdev.d/20-alice.conf"), &format!("[WireGuardPeer]\nPublicKey={PEER}\n"));
    write(&network("run/network/50-vpn.netdev.d/20-alice.conf"), "");
    write(&network("etc/network/50-vpn.netdev.d/20-alice.conf"), &format!("[WireGuardPeer]\nPublicKey = {PEER}\n"));
    write(&network("etc/network/50-vpn.netdev.d/30-notes.txt"), "[WireGuardPeer]\n");
    let key = random_key();
    assert_eq!(set(root.path(), &key), Ok(true));
    let written = fs::read_to_string(network("etc/network/50-vpn.netdev.d/20-alice.conf")).unwrap();
    assert_eq!(written, format!("[WireGuardPeer]\nPublicKey = {PEER}\nPresharedKey = {}\n", *key.expose_base64()));
    let mut configuration = open(root.path()).unwrap().unwrap();
    assert_eq!(configuration.peers(), [other(), peer()]);
    assert_eq!(configuration.path(), network("usr/network/50-vpn.netdev"));
    assert_eq!((configuration.preshared_key(&peer()), configuration.preshared_key(&other())), (Some(key), None));
    let failure = configuration.set_preshared_key(&other(), &random_key()).unwrap_err();
    assert!(
        said(root.path(), failure).starts_with("ROOT/usr/network/50-vpn.netdev:4: a file of the system's packages")
    );
    assert_eq!(configuration.write(), Ok(false));
}

#[test]
fn a_peer_that_stands_twice_gets_the_key_in_each_place_and_is_named() {
    let root = root(Format::Networkd);
    let main = file(root.path(), Format::Networkd);
    let again = root.path().join("etc/network/10-office.netdev.d/again.conf");
    write(&again, &format!("# once more\n[WireGuardPeer]\nPublicKey={PEER}\n"));
    let key = random_key();
    assert_eq!(set(root.path(), &key), Ok(true));
    for path in [&main, &again] {
        assert!(fs::read_to_string(path).unwrap().ends_with(&format!("PresharedKey={}\n", *key.expose_base64())));
    }
    let expected = format!("{}:2: {PEER} stands in {}:6 already", again.display(), main.display());
    assert_eq!(open(root.path()).unwrap().unwrap().repeated(), [expected]);
}

#[test]
fn a_key_in_a_file_of_its_own_is_changed_there() {
    let root = root(Format::Networkd);
    let main = file(root.path(), Format::Networkd);
    let key_file = root.path().join("keys/alice.psk");
    let named = format!("{}PresharedKey={OTHER}\nPresharedKeyFile={}\n", text(Format::Networkd), key_file.display());
    write(&main, &named);
    fs::create_dir(root.path().join("keys")).unwrap();
    let key = random_key();
    assert_eq!(open(root.path()).unwrap().unwrap().preshared_key(&peer()), None);
    assert_eq!(set(root.path(), &key), Ok(true));
    assert_eq!(fs::read_to_string(&key_file).unwrap(), format!("{}\n", *key.expose_base64()));
    let made = fs::metadata(&key_file).unwrap();
    let group = Group::from_name("systemd-network").unwrap().map(|group| group.gid.as_raw());
    let (mode, group) = group.map_or((0o600, 0), |group| (0o640, group));
    assert_eq!((made.mode() & 0o7777, made.uid(), made.gid()), (mode, 0, group));
    assert_eq!(open(root.path()).unwrap().unwrap().preshared_key(&peer()), Some(key.clone()));

    chown(&key_file, Some(0), Some(12345)).unwrap();
    fs::set_permissions(&key_file, Permissions::from_mode(0o440)).unwrap();
    assert_eq!((set(root.path(), &key), set(root.path(), &random_key())), (Ok(false), Ok(true)));
    let kept = fs::metadata(&key_file).unwrap();
    assert_eq!((kept.mode() & 0o7777, kept.gid()), (0o440, 12345));
    assert_eq!(fs::read_to_string(&main).unwrap(), named);

    let mut configuration = open(root.path()).unwrap().unwrap();
    configuration.remove_preshared_key(&peer()).unwrap();
    assert_eq!(configuration.write(), Ok(true));
    assert!(!key_file.exists(), "networkd sets up no peer whose file is not there");
    assert_eq!(fs::read_to_string(&main).unwrap(), named);
}

#[test]
fn a_key_file_that_cannot_be_trusted_or_is_shared_is_refused() {
    let root = root(Format::Networkd);
    let main = file(root.path(), Format::Networkd);
    let key_file = root.path().join("keys/psk");
    let named = format!("{}PresharedKeyFile={}\n", text(Format::Networkd), key_file.display());
    write(&main, &named);
    write(&key_file, OTHER);
    fs::set_permissions(&key_file, Permissions::from_mode(0o666)).unwrap();
    assert_eq!(refused(root.path()), "ROOT/keys/psk: others may write it: mode 0666");
    fs::remove_file(&key_file).unwrap();
    symlink("other", &key_file).unwrap();
    assert_eq!(refused(root.path()), "ROOT/keys/psk: it is a symbolic link, which wgmfa does not follow");
    fs::remove_file(&key_file).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&key_file).unwrap();
    assert_eq!(refused(root.path()), "ROOT/keys/psk: it is a socket, not a regular file");
    fs::remove_file(&key_file).unwrap();
    fs::remove_dir(root.path().join("keys")).unwrap();
    assert_eq!(refused(root.path()), "ROOT/keys/psk: No such file or directory (os error 2)");
    let shared = format!("{named}[WireGuardPeer]\nPublicKey={OTHER}\nPresharedKeyFile={}\n", key_file.display());
    write(&main, &shared);
    let expected = "ROOT/etc/network/10-office.netdev:6: ROOT/keys/psk holds the preshared key of another peer too, \
                    ROOT/etc/network/10-office.netdev:9";
    assert_eq!(refused(root.path()), expected);
}

#[test]
fn what_everybody_can_read_is_named() {
    let root = root(Format::Networkd);
    let main = file(root.path(), Format::Networkd);
    let exposed = || open(root.path()).unwrap().unwrap().exposed(&peer());
    fs::set_permissions(&main, Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(root.path(), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(exposed(), None, "nobody else gets into the folder above");
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    let failure = exposed().unwrap();
    assert_eq!(failure.error, format!("{}: everybody on this machine can read it", main.display()));
    let expected = format!("chown root:systemd-network {0}; chmod 0640 {0}", main.display());
    assert_eq!(failure.hint, Some(expected));
    fs::set_permissions(main.parent().unwrap(), Permissions::from_mode(0o750)).unwrap();
    assert_eq!(exposed(), None, "nobody else gets into the folder");
}

#[test]
fn what_cannot_be_changed_is_named_with_file_and_line() {
    let manager = root(Format::NetworkManager);
    let path = file(manager.path(), Format::NetworkManager);
    write(&path, &format!("{}preshared-key-flags=1\n", text(Format::NetworkManager)));
    let failure = set(manager.path(), &random_key()).unwrap_err();
    let hint = failure.hint.clone();
    let expected = "ROOT/etc/nm/The office.nmconnection:8: preshared-key-flags says that the key is not in this file";
    assert_eq!(said(manager.path(), failure), expected);
    let expected = "write preshared-key-flags=0 there, so that NetworkManager takes the key from this file";
    assert_eq!(hint.as_deref(), Some(expected));
    let quick = root(Format::WgQuick);
    let failure = open(quick.path()).unwrap().unwrap().set_preshared_key(&other(), &random_key()).unwrap_err();
    let expected = format!("ROOT/etc/wireguard/wg0.conf: no [Peer] with PublicKey = {OTHER}");
    assert_eq!(said(quick.path(), failure), expected);
}
