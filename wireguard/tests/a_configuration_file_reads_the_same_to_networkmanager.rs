//! NetworkManager's own library as the judge: the new key and everything else as before.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wgmfa_core::key::PublicKey;
use wgmfa_wireguard::conf::{ConfigFile, Format};

mod shapes;

/// What the library says of each file, line by line, split at tabs.
fn read(files: &[PathBuf]) -> Vec<Vec<Vec<String>>> {
    // Debian's own Python: the library comes with it (python3-gi, gir1.2-nm-1.0)
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/networkmanager.py");
    let out = Command::new("/usr/bin/python3").arg(script).args(files).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let line = |line: &str| line.split('\t').map(str::to_owned).collect();
    text.split("file\n").skip(1).map(|file| file.lines().map(line).collect()).collect()
}

#[test]
fn the_new_key_and_everything_else_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let peer: PublicKey = shapes::A.parse().unwrap();
    let shapes = shapes::shapes(Format::NetworkManager);
    let mut files = Vec::new();
    for (number, shape) in shapes.iter().enumerate() {
        let mut file = ConfigFile::parse(Format::NetworkManager, &shape.before);
        file.set_preshared_key(&peer, &shapes::NEW.parse().unwrap()).unwrap();
        for (state, bytes) in [("before", &shape.before), ("after", &file.render().to_vec())] {
            let path = folder.path().join(format!("{number}.{state}"));
            fs::write(&path, bytes).unwrap();
            files.push(path);
        }
    }
    let read = read(&files);
    assert_eq!(read.len(), 2 * shapes.len());
    for (shape, pair) in shapes.iter().zip(read.chunks(2)) {
        let (title, before, mut after) = (shape.title, pair[0].clone(), pair[1].clone());
        assert_eq!(before[0][0] != "refused", shape.is_read, "{title}: {before:?}");
        if !shape.is_read {
            continue;
        }
        assert_eq!(before[0], ["interface", "wg0"], "{title}");
        let place = |lines: &[Vec<String>]| lines.iter().position(|line| line[0] == "peer" && line[1] == shapes::A);
        let (old, new) = (place(&before).expect(title), place(&after).expect(title));
        // flag 0: the file has the key, and nobody is asked for it
        assert_eq!((&*after[new][2], &*after[new][3]), (shapes::NEW, "0"), "{title}");
        let file = ConfigFile::parse(Format::NetworkManager, &shape.before);
        assert_eq!(file.preshared_key(&peer), before[old][2].parse().ok(), "{title}");
        after[new][2..4].clone_from_slice(&before[old][2..4]);
        assert_eq!(after, before, "{title}");
    }
}
