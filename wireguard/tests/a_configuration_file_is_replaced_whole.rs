//! Configuration files on disk, of each format: owner, mode, attributes, trust; a full disk, a file that cannot be replaced.

mod places;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount, umount};
use places::{FORMATS, file, folders, names, open, peer, random_key, root, said, set, text, text_with, wg0};
use rustix::fs::{IFlags, XattrFlags, getxattr, ioctl_setflags, setxattr};
use wgmfa_wireguard::conf::{Configuration, Format};

#[test]
fn mode_owner_and_attributes_stay_and_an_unchanged_file_is_not_written() {
    for format in FORMATS {
        let root = root(format);
        let path = file(root.path(), format);
        let folder = path.parent().unwrap();
        chown(&path, Some(0), Some(12345)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        setxattr(&path, "user.site", b"office", XattrFlags::CREATE).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        fs::write(folder.join(format!(".{name}.wgmfa-new")), "left by a crash").unwrap();
        let key = random_key();
        assert_eq!(set(root.path(), &key), Ok(true));
        let after = fs::metadata(&path).unwrap();
        assert_eq!((after.uid(), after.gid(), after.mode() & 0o7777), (0, 12345, 0o640));
        let mut value = [0; 16];
        let length = getxattr(&path, "user.site", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"office");
        assert_eq!(fs::read_to_string(&path).unwrap(), text_with(format, &key));
        assert_eq!(names(folder), [name]);

        assert_eq!(set(root.path(), &key), Ok(false));
        assert_eq!(fs::metadata(&path).unwrap().ino(), after.ino());

        let mut configuration = open(root.path()).unwrap().unwrap();
        configuration.remove_preshared_key(&peer()).unwrap();
        assert_eq!((configuration.write(), configuration.write()), (Ok(true), Ok(false)));
        assert_eq!(fs::read_to_string(&path).unwrap(), text(format));
    }
}

/// An access control list as the kernel keeps it: who may do what, in this order: owner, one user, group, mask, others.
fn access_control_list() -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, may, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 4, 12345), (4, 0, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
    {
        bytes.extend([tag.to_le_bytes(), may.to_le_bytes()].concat());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[test]
fn an_access_control_list_stays_and_none_is_added() {
    let root = root(Format::Networkd);
    let path = file(root.path(), Format::Networkd);
    let list = |path: &Path| {
        let mut value = [0; 256];
        getxattr(path, "system.posix_acl_access", &mut value[..]).map(|length| value[..length].to_vec())
    };
    // what the folder gives to new files is not what the file had
    setxattr(path.parent().unwrap(), "system.posix_acl_default", &access_control_list(), XattrFlags::empty()).unwrap();
    assert_eq!(set(root.path(), &random_key()), Ok(true));
    assert!(list(&path).is_err());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    setxattr(&path, "system.posix_acl_access", &access_control_list(), XattrFlags::empty()).unwrap();
    assert_eq!(set(root.path(), &random_key()), Ok(true));
    assert_eq!(list(&path).unwrap(), access_control_list());
}

/// A file system of this size at `folder`, with what stands there; gone when dropped.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn over(folder: &'a Path, path: &Path) -> Self {
        let text = fs::read(path).unwrap();
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some("size=12k,mode=0700")).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        Self(folder)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = umount(self.0);
    }
}

#[test]
fn a_full_disk_leaves_the_old_file_whole() {
    for format in FORMATS {
        let root = root(format);
        let path = file(root.path(), format);
        let folder = path.parent().unwrap();
        let before = format!("#{}\n{}", "x".repeat(4200), text(format));
        fs::write(&path, &before).unwrap();
        let _small = Small::over(folder, &path);
        fs::write(folder.join("ballast~"), "x").unwrap();
        let failure = set(root.path(), &random_key()).unwrap_err();
        let expected = format!("{}: No space left on device (os error 28)", path.display());
        assert_eq!((&failure.error, failure.exit.code()), (&expected, 1));
        assert_eq!(failure.hint.as_deref(), Some("make room on the disk; the file is as it was"));
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        let mut expected = [path.file_name().unwrap().to_str().unwrap(), "ballast~"];
        expected.sort_unstable();
        assert_eq!(names(folder), expected);
    }
}

#[test]
fn a_read_only_file_system_is_named() {
    let root = root(Format::NetworkManager);
    let path = file(root.path(), Format::NetworkManager);
    let small = Small::over(path.parent().unwrap(), &path);
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, small.0, None::<&str>, flags, None::<&str>).unwrap();
    let failure = set(root.path(), &random_key()).unwrap_err();
    assert_eq!(failure.error, format!("{}: Read-only file system (os error 30)", path.display()));
    assert_eq!(failure.hint.as_deref(), Some("its file system is mounted read-only; the file was left as it is"));
}

/// A file that nobody can change, until this is dropped.
struct Immutable(File);

impl Drop for Immutable {
    fn drop(&mut self) {
        let _ = ioctl_setflags(&self.0, IFlags::empty());
    }
}

#[test]
fn an_immutable_file_stays_and_is_named_and_one_that_is_only_marked_read_only_is_replaced() {
    for format in FORMATS {
        let root = root(format);
        let path = file(root.path(), format);
        let held = Immutable(File::open(&path).unwrap());
        ioctl_setflags(&held.0, IFlags::IMMUTABLE).unwrap();
        let failure = set(root.path(), &random_key()).unwrap_err();
        assert_eq!(failure.error, format!("{}: Operation not permitted (os error 1)", path.display()));
        let expected = "lsattr shows whether it is immutable; the file was left as it is";
        assert_eq!(failure.hint.as_deref(), Some(expected));
        assert_eq!(fs::read_to_string(&path).unwrap(), text(format));
        assert_eq!(names(path.parent().unwrap()).len(), 1);
        drop(held);
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert_eq!(set(root.path(), &random_key()), Ok(true));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o400);
    }
}

#[test]
fn a_file_that_others_could_have_written_is_refused_with_its_path() {
    for format in FORMATS {
        let root = root(format);
        let path = file(root.path(), format);
        let (folder, shown) = (path.parent().unwrap(), path.display());
        let refused = || open(root.path()).expect_err("refused").error;
        fs::set_permissions(&path, Permissions::from_mode(0o660)).unwrap();
        assert_eq!(refused(), format!("{shown}: others may write it: mode 0660"));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(12345), None).unwrap();
        assert_eq!(refused(), format!("{shown}: it belongs to user id 12345, not to root"));
        chown(&path, Some(0), None).unwrap();
        fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
        assert_eq!(refused(), format!("{}: others may write it: mode 0777", folder.display()));
        fs::set_permissions(folder, Permissions::from_mode(0o700)).unwrap();
        fs::rename(&path, root.path().join("real")).unwrap();
        symlink(root.path().join("real"), &path).unwrap();
        assert_eq!(refused(), format!("{shown}: it is a symbolic link, which wgmfa does not follow"));
        fs::remove_file(&path).unwrap();
        assert!(open(root.path()).unwrap().is_none());
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("etc/wireguard/wg0.conf")).unwrap();
    let failure = open(root.path()).expect_err("refused");
    assert_eq!(said(root.path(), failure), "ROOT/etc/wireguard/wg0.conf: it is not a regular file");
    assert!(Configuration::open(&folders(&root.path().join("none")), &wg0()).unwrap().is_none());
}

#[test]
fn an_edit_by_somebody_else_in_between_is_not_overwritten() {
    for format in FORMATS {
        let root = root(format);
        let path = file(root.path(), format);
        let mut configuration = open(root.path()).unwrap().unwrap();
        configuration.set_preshared_key(&peer(), &random_key()).unwrap();
        let edited = format!("{}# edited\n", text(format));
        fs::write(&path, &edited).unwrap();
        let failure = configuration.write().unwrap_err();
        assert!(failure.error.ends_with("the file was changed by another program meanwhile, try again"), "{failure}");
        assert_eq!(fs::read_to_string(&path).unwrap(), edited);
    }
}
