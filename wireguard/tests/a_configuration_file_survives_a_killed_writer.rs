//! A writer that is killed leaves the old file or the new one, and nothing that anybody takes for a third.

mod places;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use places::{FORMATS, file, names, open, peer, random_key, root, set, text, text_with, write};
use wgmfa_wireguard::conf::Format;

const ROOT: &str = "WGMFA_TEST_ROOT";
const KEY: &str = "bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmU=";

/// Not a test of its own: the process that is killed.
#[test]
fn the_writer() {
    if let Some(root) = std::env::var_os(ROOT) {
        assert_eq!(set(Path::new(&root), &KEY.parse().unwrap()), Ok(true));
    }
}

/// Has the writer killed at this point; says whether it was.
fn killed(root: &Path, point: &str) -> bool {
    let mut writer = Command::new(std::env::current_exe().unwrap());
    writer.args(["--exact", "the_writer"]).env(ROOT, root).env("WGMFA_CRASH_AT", point);
    let out = writer.output().unwrap();
    assert!(out.status.success() || out.status.signal() == Some(9), "{out:?}");
    !out.status.success()
}

#[test]
fn old_or_new_and_never_half() {
    for format in FORMATS {
        for (point, is_new) in
            [("conf-begun", false), ("conf-written", false), ("conf-renamed", true), ("nowhere", true)]
        {
            let root = root(format);
            let path = file(root.path(), format);
            assert_eq!(killed(root.path(), point), point != "nowhere", "{format:?} {point}");
            let expected = if is_new { text_with(format, &KEY.parse().unwrap()) } else { text(format) };
            assert_eq!(fs::read_to_string(&path).unwrap(), expected, "{format:?} {point}");
            // what is left beside it is nobody's configuration, and the next writer takes it away
            assert_eq!(open(root.path()).unwrap().unwrap().path(), path);
            let key = random_key();
            assert_eq!(set(root.path(), &key), Ok(true));
            assert_eq!(fs::read_to_string(&path).unwrap(), text_with(format, &key));
            assert_eq!(names(path.parent().unwrap()).len(), 1, "{format:?} {point}");
        }
    }
}

#[test]
fn a_key_in_a_file_of_its_own_is_old_or_new() {
    for (point, is_new) in [("conf-begun", false), ("conf-written", false), ("conf-renamed", true)] {
        let root = root(Format::Networkd);
        let key_file = root.path().join("keys/alice");
        let old = random_key();
        write(&key_file, &old.expose_base64());
        let named = format!("{}PresharedKeyFile={}\n", text(Format::Networkd), key_file.display());
        write(&file(root.path(), Format::Networkd), &named);
        assert!(killed(root.path(), point), "{point}");
        let expected = if is_new { format!("{KEY}\n") } else { (*old.expose_base64()).clone() };
        assert_eq!(fs::read_to_string(&key_file).unwrap(), expected, "{point}");
        assert_eq!(fs::read_to_string(file(root.path(), Format::Networkd)).unwrap(), named);
        assert_eq!(set(root.path(), &old), Ok(is_new), "{point}");
        assert_eq!(open(root.path()).unwrap().unwrap().preshared_key(&peer()), Some(old));
    }
}
