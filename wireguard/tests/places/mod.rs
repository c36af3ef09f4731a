//! A folder with the places where an interface can be configured, in place of the machine's own.
#![allow(dead_code)] // each test uses its part

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use wgmfa_core::exit::Failure;
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::conf::{Configuration, Folders, Format};

pub const PEER: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
pub const OTHER: &str = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
pub const PRIVATE: &str = "YLD3Xfp7pJQ2QhJXvzSxdYJxTq8eyXn1dgtq6Vd2Lks=";
pub const FORMATS: [Format; 3] = [Format::WgQuick, Format::Networkd, Format::NetworkManager];

pub fn peer() -> PublicKey {
    PEER.parse().unwrap()
}

pub fn other() -> PublicKey {
    OTHER.parse().unwrap()
}

pub fn wg0() -> InterfaceName {
    "wg0".parse().unwrap()
}

/// The folders under a root.
pub fn folders(root: &Path) -> Folders {
    let three = |below: &str| ["etc", "run", "usr"].map(|top| root.join(top).join(below)).to_vec();
    Folders { wireguard: root.join("etc/wireguard"), networkd: three("network"), networkmanager: three("nm") }
}

/// The file in which a format configures wg0.
pub fn file(root: &Path, format: Format) -> PathBuf {
    root.join(match format {
        Format::WgQuick => "etc/wireguard/wg0.conf",
        Format::Networkd => "etc/network/10-office.netdev",
        Format::NetworkManager => "etc/nm/The office.nmconnection",
    })
}

/// An interface with one peer that has no preshared key.
pub fn text(format: Format) -> String {
    match format {
        Format::WgQuick => format!("[Interface]\nPrivateKey = {PRIVATE}\n[Peer] # Alice\nPublicKey = {PEER}\n"),
        Format::Networkd => {
            format!(
                "[NetDev]\nName=wg0\nKind=wireguard\n[WireGuard]\nPrivateKey={PRIVATE}\n[WireGuardPeer]\nPublicKey={PEER}\n"
            )
        }
        Format::NetworkManager => format!(
            "[connection]\nid=The office\ntype=wireguard\ninterface-name=wg0\n[wireguard]\nprivate-key={PRIVATE}\n\
             [wireguard-peer.{PEER}]\n"
        ),
    }
}

/// The same with this preshared key.
pub fn text_with(format: Format, key: &PresharedKey) -> String {
    let key = key.expose_base64();
    match format {
        Format::WgQuick => format!("{}PresharedKey = {}\n", text(format), *key),
        Format::Networkd => format!("{}PresharedKey={}\n", text(format), *key),
        Format::NetworkManager => format!("{}preshared-key={}\npreshared-key-flags=0\n", text(format), *key),
    }
}

/// Writes a file that is nobody else's affair, with its folders.
pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// A root in which one format configures wg0.
pub fn root(format: Format) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    write(&file(root.path(), format), &text(format));
    root
}

pub fn open(root: &Path) -> Result<Option<Configuration>, Failure> {
    Configuration::open(&folders(root), &wg0())
}

/// Gives the peer another key, on disk.
pub fn set(root: &Path, key: &PresharedKey) -> Result<bool, Failure> {
    let mut configuration = open(root)?.expect("it is configured");
    configuration.set_preshared_key(&peer(), key)?;
    configuration.write()
}

/// What a failure says, with `ROOT` for the root.
pub fn said(root: &Path, failure: Failure) -> String {
    failure.error.replace(&*root.to_string_lossy(), "ROOT")
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn random_key() -> PresharedKey {
    let out = Command::new("wg").arg("genpsk").output().expect("wireguard-tools are installed");
    String::from_utf8(out.stdout).unwrap().trim().parse().unwrap()
}
