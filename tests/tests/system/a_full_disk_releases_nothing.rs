//! Nothing is released that cannot be recorded. With room again all works again, and nothing was half written.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use wgmfa_tests::Gated;
use wgmfa_tests::gated::PROTECTED;
use wgmfa_tests::lab::DEVICE;
use wgmfa_tests::wait::{LONG, until};

use super::site::{REFUSAL, Site, gate};

/// A small disk under the bastion's store. Dropped, it is gone.
struct Disk {
    at: PathBuf,
}

impl Disk {
    fn mount(at: &Path) -> Self {
        mount(Some("none"), at, Some("tmpfs"), MsFlags::empty(), Some("size=4m,mode=0700")).expect("root may mount");
        Self { at: at.to_owned() }
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let file = OpenOptions::new().create(true).append(true).open(self.at.join("filler"));
        let mut file = file.expect("a file on the disk");
        for size in [65536, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.at.join("filler")).expect("it is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

#[test]
fn before_between_and_after_the_steps_of_a_login() {
    let mut disk = None;
    let mut site = Site::with(
        |_| {},
        |bastion| {
            disk = Some(Disk::mount(&bastion.folder().join("state")));
            gate(bastion);
        },
    );
    let disk = disk.expect("it was mounted");
    let device = site.justin.public_key().to_owned();
    let host = site.host("app-gw");
    let mut agent = host.connect(false);
    agent.wait_with_keys(&[&device], 1);

    // a login cannot be recorded
    disk.fill();
    let refused = site.justin.ssh(&["wgmfa-sync"]).expect(255);
    assert_eq!(refused.stdout, "");
    assert!(refused.stderr.contains(REFUSAL), "{refused:?}");
    // a deposit cannot be: the agent is told, and goes on without it
    let deposit = serde_json::json!({"type": "deposit", "deposits": [{"interface": "wg0", "public_key": device,
        "generation": 2, "preshared_key": wgmfa_tests::tunnel::genkey()}]});
    agent.conversation.say_json(&deposit);
    assert_eq!(agent.conversation.hear_json()["type"], "refused");
    drop(agent);
    disk.make_room();
    assert_eq!((site.count("code-accepted"), site.count("login-accepted")), (0, 0));

    // a code is recorded, the login that it was for cannot be
    let closed = site.bastion.machine.write("closed", "");
    let refused = std::thread::scope(|scope| {
        let login = scope.spawn(|| site.justin.ssh(&["wgmfa-sync"]));
        let bastion = &site.bastion;
        until("the accepted code", LONG, || (bastion.log("code-accepted").len() == 1).then_some(()));
        disk.fill();
        std::fs::remove_file(closed).expect("it is there");
        login.join().unwrap()
    });
    assert_eq!(refused.expect(255).stdout, "");
    disk.make_room();
    site.justin.laptop.ssh_as_set(&["wgmfa-sync"]).expect(255);
    assert_eq!((site.count("code-accepted"), site.count("login-accepted"), site.count("released")), (1, 0, 0));

    // a login is recorded, its release cannot be; with room again it can, within the login's minute
    let row = site.bastion.key(DEVICE);
    let master = site.justin.master();
    disk.fill();
    let refused = master.ssh(&["bastion", "wgmfa-sync"]);
    assert!(refused.code() != 0 && refused.stdout.is_empty(), "{refused:?}");
    let shown = site.bastion.key(DEVICE);
    assert_eq!((&shown["generation"], &shown["released_at"]), (&row["generation"], &row["released_at"]));
    disk.make_room();
    assert_eq!(master.ssh(&["bastion", "wgmfa-sync"]).ok().stdout.lines().count(), 1);
    drop(master);
    assert_eq!(site.count("released"), 1);

    // also for a keeper that is killed on a full disk
    disk.fill();
    site.justin.ssh(&["wgmfa-sync"]).expect(255);
    site.bastion.kill();
    disk.make_room();
    site.bastion.start();
    site.justin.ssh(&["wgmfa-sync"]).ok();
    host.connect(false).wait_with_keys(&[&device], 2);
    site.bastion.admin(&["log", "verify"]).ok();
    assert_eq!((site.count("released"), site.count("renewed")), (1, 1));
    site.bastion.kill(); // nobody holds the disk when it goes
}

#[test]
fn nor_does_a_code_inside_the_tunnel_open_anything() {
    let mut gated = Gated::with_resident_agent("1h");
    gated.lab.bastion.stop();
    let state = gated.lab.bastion.folder().join("state");
    let aside = gated.lab.bastion.folder().join("aside");
    std::fs::rename(&state, &aside).expect("the store is moved");
    std::fs::create_dir(&state).expect("a folder to mount on");
    let disk = Disk::mount(&state);
    let copied = std::process::Command::new("cp").arg("-a").arg(aside.join(".")).arg(&state).status();
    assert!(copied.expect("cp runs").success());
    gated.lab.bastion.start();
    gated.lab.gateway.await_contact(&gated.lab.bastion);

    disk.fill();
    let code = gated.lab.laptop.authenticator.next_code();
    let said = gated.ask(&format!("{code}\n"));
    assert!(said.contains("\nerror: ") && !said.contains("ok:"), "{said}");
    assert!(!gated.reaches(PROTECTED));
    disk.make_room();
    assert_eq!((gated.lab.bastion.log("code-accepted").len(), gated.lab.bastion.log("granted").len()), (0, 0));
    let said = gated.ask(&format!("{code}\n"));
    assert!(said.contains("\nok: prod until "), "it was not used up: {said}");
    gated.await_open(PROTECTED);
    gated.lab.bastion.stop();
}
