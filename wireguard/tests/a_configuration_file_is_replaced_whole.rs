//! Configuration files on disk: owner, mode, trust, a full disk; and `wg` itself as the judge of what the parser understands.

mod lab;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use lab::{Lab, random_key, run};
use nix::mount::{MsFlags, mount, umount};
use wgmfa_core::exit::Failure;
use wgmfa_core::key::{PresharedKey, PublicKey};
use wgmfa_core::name::InterfaceName;
use wgmfa_wireguard::conf::{ConfigFile, StoredFile};

const PEER: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
const OTHER: &str = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
const PRIVATE: &str = "YLD3Xfp7pJQ2QhJXvzSxdYJxTq8eyXn1dgtq6Vd2Lks=";

fn peer() -> PublicKey {
    PEER.parse().unwrap()
}

fn wg0() -> InterfaceName {
    "wg0".parse().unwrap()
}

fn text() -> String {
    format!("[Interface]\nPrivateKey = {PRIVATE}\n[Peer] # Alice\nPublicKey = {PEER}\n")
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wg0.conf");
    fs::write(&path, text()).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn lock(folder: &Path, key: &PresharedKey) -> Result<bool, Failure> {
    let mut file = StoredFile::open(folder, &wg0())?.expect("the file is there");
    file.config.set_preshared_key(&peer(), key).unwrap();
    file.write()
}

#[test]
fn mode_and_owner_stay_and_an_unchanged_file_is_not_written() {
    let folder = folder();
    let path = folder.path().join("wg0.conf");
    chown(&path, Some(0), Some(12345)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    fs::write(folder.path().join("wg0.conf.wgmfa-new"), "left by a crash").unwrap();
    let key = random_key();
    assert_eq!(lock(folder.path(), &key), Ok(true));
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.uid(), after.gid(), after.mode() & 0o7777), (0, 12345, 0o640));
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}PresharedKey = {}\n", text(), *key.expose_base64()));
    assert_eq!(names(folder.path()), ["wg0.conf"]);

    assert_eq!(lock(folder.path(), &key), Ok(false));
    assert_eq!(fs::metadata(&path).unwrap().ino(), after.ino());

    let mut file = StoredFile::open(folder.path(), &wg0()).unwrap().unwrap();
    file.config.remove_preshared_key(&peer()).unwrap();
    assert_eq!((file.write(), file.write()), (Ok(true), Ok(false)));
    assert_eq!(fs::read_to_string(&path).unwrap(), text());
}

#[test]
fn a_full_disk_leaves_the_old_file_whole() {
    let folder = tempfile::tempdir().unwrap();
    mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=12k,mode=0700")).unwrap();
    let outcome = std::panic::catch_unwind(|| {
        let path = folder.path().join("wg0.conf");
        let before = format!("{}#{}\n", text(), "x".repeat(4200));
        fs::write(&path, &before).unwrap();
        fs::write(folder.path().join("ballast"), "x").unwrap();
        let failure = lock(folder.path(), &random_key()).unwrap_err();
        let expected = format!("{}: No space left on device (os error 28)", path.display());
        assert_eq!((failure.error, failure.exit.code()), (expected, 1));
        assert_eq!(failure.hint.as_deref(), Some("make room on the disk; the file is as it was"));
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        assert_eq!(names(folder.path()), ["ballast", "wg0.conf"]);
    });
    umount(folder.path()).unwrap();
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn a_file_that_others_could_have_written_is_refused_with_its_path() {
    let refused = |folder: &Path| {
        let failure = StoredFile::open(folder, &wg0()).expect_err("refused");
        failure.error.replace(&*folder.to_string_lossy(), "DIR")
    };
    let here = folder();
    let path = here.path().join("wg0.conf");
    fs::set_permissions(&path, Permissions::from_mode(0o660)).unwrap();
    assert_eq!(refused(here.path()), "DIR/wg0.conf: others may write it: mode 0660");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    chown(&path, Some(12345), None).unwrap();
    assert_eq!(refused(here.path()), "DIR/wg0.conf: it belongs to user id 12345, not to root");
    chown(&path, Some(0), None).unwrap();
    fs::set_permissions(here.path(), Permissions::from_mode(0o777)).unwrap();
    assert_eq!(refused(here.path()), "DIR: others may write it: mode 0777");
    fs::set_permissions(here.path(), Permissions::from_mode(0o700)).unwrap();
    fs::rename(&path, here.path().join("real.conf")).unwrap();
    symlink("real.conf", &path).unwrap();
    assert_eq!(refused(here.path()), "DIR/wg0.conf: it is a symbolic link, which wgmfa does not follow");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(refused(here.path()), "DIR/wg0.conf: it is not a regular file");
    fs::remove_dir(&path).unwrap();
    assert!(StoredFile::open(here.path(), &wg0()).unwrap().is_none());
    assert!(StoredFile::open(&here.path().join("none"), &wg0()).unwrap().is_none());
}

#[test]
fn an_edit_by_somebody_else_in_between_is_not_overwritten() {
    let folder = folder();
    let path = folder.path().join("wg0.conf");
    let mut file = StoredFile::open(folder.path(), &wg0()).unwrap().unwrap();
    file.config.set_preshared_key(&peer(), &random_key()).unwrap();
    let edited = format!("{}AllowedIPs = 10.0.0.1/32\n", text());
    fs::write(&path, &edited).unwrap();
    let failure = file.write().unwrap_err();
    assert!(failure.error.ends_with("the file was changed by another program meanwhile, try again"), "{failure}");
    assert_eq!(fs::read_to_string(&path).unwrap(), edited);
}

/// The shapes of the parser's own test, without preshared keys that are to be added.
fn shapes() -> Vec<(String, String)> {
    let of_shape = |shape: &str| {
        let (title, text) = shape.split_once('\n').unwrap();
        let mut text = format!("{text}\n").replace("\\r", "\r").replace("\\t", "\t");
        while let Some((start, rest)) = text.clone().split_once("{+") {
            text = format!("{start}{}", rest.split_once("+}").unwrap().1);
        }
        let text = text.strip_suffix("\\c\n").map(str::to_owned).unwrap_or(text);
        let text = text.replace("{A}", PEER).replace("{B}", OTHER).replace("{PRIVATE}", PRIVATE);
        (title.to_owned(), text.replace("{OLD}", OTHER))
    };
    include_str!("shapes/conf.txt").split("\n=== ").skip(1).map(of_shape).collect()
}

#[test]
fn wg_and_wg_quick_read_the_new_key_and_everything_else_as_before() {
    let lab = Lab::up();
    let side = &lab.server;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wg0.conf");
    let live = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let stripped = run(&["wg-quick", "strip", path.to_str().unwrap()]).stdout;
        side.wg(&["setconf", side.name.as_str(), "/dev/stdin"], &String::from_utf8(stripped).unwrap());
        let mut dump = side.dump();
        dump[0][2].clear(); // the listen port is another each time where the file names none
        dump[1..].sort();
        dump
    };
    for (title, text) in shapes() {
        let key = random_key();
        let mut file = ConfigFile::parse(text.as_bytes());
        let before = live(text.as_bytes());
        let shown = |dump: &[Vec<String>]| dump.iter().find(|line| line[0] == PEER).unwrap()[1].parse().ok();
        assert_eq!(file.preshared_key(&peer()), shown(&before), "{title}");
        file.set_preshared_key(&peer(), &key).unwrap();
        let mut after = live(&file.render());
        assert_eq!(shown(&after), Some(key), "{title}");
        let place = after.iter().position(|line| line[0] == PEER).unwrap();
        after[place][1].clone_from(&before[place][1]);
        assert_eq!(after, before, "{title}");
    }
}
