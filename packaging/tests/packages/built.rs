//! What is built, and where it can be installed without a trace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use wgmfa_packaging::VERSION;
use wgmfa_tests::program::{Ended, folder, ours, run};

/// The packages, by their names.
pub const NAMES: [&str; 4] = ["libpam-wgmfa", "wgmfa", "wgmfa-agent", "wgmfa-bastion"];

/// The higher version.
pub const TWO: &str = "99.0.0-1";

/// The source tree.
pub fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The lines of the manifest: package, mode, destination.
pub fn manifest() -> Vec<(String, String, String)> {
    let text = fs::read_to_string(tree().join("packaging/manifest")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    fields.map(|mut fields| (fields.remove(0), fields.remove(0), fields.remove(1))).collect()
}

/// A folder with packages of the built programs, in `one`, and the same under a higher version, in `two`; made once.
pub fn packages() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
        let _ = fs::remove_dir_all(&to);
        fs::create_dir_all(&to).unwrap();
        make(&to);
        to
    })
}

fn make(to: &Path) {
    ours("wgmfa-bastion");
    let made = to.join("made");
    wgmfa_packaging::write(&made).unwrap();
    let mut deb = Command::new(tree().join("packaging/deb"));
    deb.arg("--built").arg(folder()).arg("--made").arg(&made).arg("--to").arg(to.join("one"));
    run(deb.env("DEB_COMPRESSION", "-Znone"), b"").ok();
    fs::create_dir(to.join("two")).unwrap();
    fs::create_dir(to.join("raw")).unwrap();
    for name in NAMES {
        let one = only(&to.join("one"), name);
        let raw = to.join("raw").join(name);
        run(Command::new("dpkg-deb").arg("-R").arg(&one).arg(&raw), b"").ok();
        let control = fs::read_to_string(raw.join("DEBIAN/control")).unwrap();
        let version = format!("{VERSION}-1");
        assert!(
            control.contains(&format!("\nVersion: {version}\n")),
            "the version of packaging/debian/changelog is not ours: {control}"
        );
        fs::write(raw.join("DEBIAN/control"), control.replace(&version, TWO)).unwrap();
        let two = to.join("two").join(format!("{name}.deb"));
        run(Command::new("dpkg-deb").args(["-Znone", "--root-owner-group", "-b"]).arg(&raw).arg(two), b"").ok();
    }
}

/// The file of a package.
pub fn only(folder: &Path, name: &str) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let begins = format!("{name}_");
    let mut found = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&begins));
    let path = found.find(|path| path.extension().is_some_and(|end| end == "deb"));
    path.unwrap_or_else(|| panic!("no package {name}"))
}

/// A layer above the machine's file system, which is gone with `to`.
pub struct Layer {
    /// What the script may read and write, below `/mnt/trial` for it; the packages are below `/mnt/packages`.
    pub folder: tempfile::TempDir,
}

/// Mounts the layer at `$1/layer/root`, with the packages of `$2`. The kernel's own settings cannot be written there.
const MOUNT: &str = r#"
set -e
mount --make-rshared /
mkdir "$1/layer"; mount -t tmpfs none "$1/layer"; cd "$1/layer"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mkdir -p root/mnt/packages root/mnt/trial
mount --bind "$2" root/mnt/packages
mount --bind "$1" root/mnt/trial
mount -t proc proc root/proc
mount --bind root/proc/sys root/proc/sys; mount -o remount,bind,ro root/proc/sys
mount -o ro -t sysfs sysfs root/sys
for tmp in dev run tmp; do mount -t tmpfs tmpfs root/$tmp; done
mkdir root/dev/net; ln -s pts/ptmx root/dev/ptmx
for node in null zero full random urandom tty net/tun; do
    if [ -e /dev/$node ]; then touch root/dev/$node; mount --bind /dev/$node root/dev/$node; fi
done
rm -f root/usr/sbin/policy-rc.d
"#;

impl Layer {
    /// One with this script in it.
    pub fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("script"), script).unwrap();
        Self { folder }
    }

    /// Runs `inside` where the layer is mounted, in namespaces of its own.
    pub fn run(&self, inside: &str) -> Ended {
        self.run_from("", inside)
    }

    /// The same, with something that the shell does before it has namespaces of its own.
    pub fn run_from(&self, outside: &str, inside: &str) -> Ended {
        let unshare =
            "exec unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child sh -c \"$0\" sh \"$@\"";
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{outside}{unshare}")).arg(format!("{MOUNT}{inside}"));
        shell.arg(self.folder.path()).arg(packages());
        run(shell.env("DEBIAN_FRONTEND", "noninteractive").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), b"")
    }

    /// A file that was left in the folder.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}
