//! `wg` and `wg-quick` themselves as the judges: the new key and everything else as before.

mod lab;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use lab::{Lab, random_key, run};
use wgmfa_core::key::PublicKey;
use wgmfa_wireguard::conf::{ConfigFile, Format};

mod shapes;

#[test]
fn the_new_key_and_everything_else_as_before() {
    let lab = Lab::up();
    let side = &lab.server;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wg0.conf");
    let peer: PublicKey = shapes::A.parse().unwrap();
    let live = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let stripped = folder.path().join("stripped");
        fs::write(&stripped, run(&["wg-quick", "strip", path.to_str().unwrap()]).stdout).unwrap();
        side.wg(&["setconf", side.name.as_str(), stripped.to_str().unwrap()], "");
        let mut dump = side.dump();
        dump[0][2].clear(); // the listen port is another each time where the file names none
        dump[1..].sort();
        dump
    };
    for shape in shapes::shapes(Format::WgQuick).into_iter().filter(|shape| shape.is_read) {
        let (title, key) = (shape.title, random_key());
        println!("{title}"); // where it is refused as a whole
        let mut file = ConfigFile::parse(Format::WgQuick, &shape.before);
        let before = live(&shape.before);
        let shown = |dump: &[Vec<String>]| dump.iter().find(|line| line[0] == shapes::A).unwrap()[1].parse().ok();
        assert_eq!(file.preshared_key(&peer), shown(&before), "{title}");
        file.set_preshared_key(&peer, &key).unwrap();
        let mut after = live(&file.render());
        assert_eq!(shown(&after), Some(key), "{title}");
        let place = after.iter().position(|line| line[0] == shapes::A).unwrap();
        after[place][1].clone_from(&before[place][1]);
        assert_eq!(after, before, "{title}");
    }
}
