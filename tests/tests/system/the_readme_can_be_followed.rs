//! The first login of README.md, word for word: its blocks run in order, each on the machine that its first line names.
//!
//! The machines have their own names and their own files: what the blocks write below /etc, /srv, /var and the home folder
//! is written over the real files for them alone, and vanishes with them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wgmfa_tests::code::Authenticator;
use wgmfa_tests::daemon::Daemon;
use wgmfa_tests::machine::{Machine, Wire, unique};
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::program::{Ended, folder, run};
use wgmfa_tests::wait::{LONG, until};

/// The home folder of the person who follows the text.
const HOME: &str = "/root";
/// The server's address in the tunnel.
const SERVER: &str = "10.77.0.1";

/// `$1` is the machine's name, `$2` an empty folder, `$3` its `/etc/hosts`.
const OWN_FILES: &str = r#"set -e
hostname "$1"
mount -t tmpfs own "$2"
for folder in /etc /root /srv /var; do
  mkdir -p "$2/over$folder" "$2/work$folder"
  mount -t overlay own -o "lowerdir=$folder,upperdir=$2/over$folder,workdir=$2/work$folder" "$folder"
done
mount -t tmpfs own /run
printf %s "$3" >/etc/hosts
echo ready
exec sleep infinity"#;

/// The interface that the text presumes, in the kernel where it has any; standard input is `wg set` without the private key.
const INTERFACE: &str = r#"set -e
ip link add wg0 type wireguard 2>/dev/null || wireguard-go wg0 >/dev/null 2>&1
wg genkey | wg set wg0 private-key /dev/stdin
ip addr add "$1/24" dev wg0
ip link set wg0 mtu 1420 up"#;

/// A machine of the text.
struct Place {
    name: &'static str,
    holder: Daemon,
    machine: Machine,
}

impl Place {
    fn new(name: &'static str, machine: Machine, hosts: &str) -> Self {
        let own = machine.path("own");
        std::fs::create_dir(&own).unwrap();
        let mut command = machine.command("unshare");
        command.args(["--mount", "--uts", "--propagation", "private", "bash", "-c", OWN_FILES, "bash", name]);
        let holder = Daemon::start(command.arg(own).arg(hosts));
        holder.await_line("ready");
        Self { name, holder, machine }
    }

    /// A command in this machine, among its files.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let path = format!("{}:{}", folder().display(), std::env::var("PATH").unwrap());
        command.args(["--target", &self.holder.pid().to_string(), "--mount", "--uts", "--net", "--root"]);
        command.args(["env", "--chdir", HOME, program]).env("PATH", path).env("HOME", HOME);
        command.env("LC_ALL", "C.UTF-8").env_remove("SUDO_UID");
        command.env("SSH_ASKPASS", self.machine.path("askpass")).env("SSH_ASKPASS_REQUIRE", "force");
        command
    }

    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) -> Ended {
        run(self.command(program).args(arguments), b"")
    }

    /// Runs a block by bash, as somebody who stops at the first failure; what goes on in the background goes on. Gives what
    /// it printed.
    #[track_caller]
    fn follow(&self, text: &str) -> String {
        let (script, said) = (self.machine.write("block", text), self.machine.path("said"));
        let output = File::create(&said).unwrap();
        let mut command = self.command("timeout");
        command.args(["60", "bash", "-e", "-o", "pipefail"]).arg(script);
        command.stdin(Stdio::null()).stderr(output.try_clone().unwrap()).stdout(output);
        let status = command.status().unwrap();
        let said = std::fs::read_to_string(said).unwrap();
        assert!(status.success(), "on {}: {status}\n{text}\n{said}", self.name);
        said
    }

    /// A file in the home folder, as this machine sees it.
    fn file(&self, name: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root{HOME}", self.holder.pid())).join(name)
    }

    fn make_interface(&self, address: &str) -> String {
        self.run("bash", &["-c", INTERFACE, "bash", address]).ok();
        self.run("wg", &["show", "wg0", "public-key"]).ok().stdout.trim_end().to_owned()
    }

    fn add_peer(&self, settings: &str) {
        self.run("wg", &[&["set", "wg0", "peer"], &*settings.split(' ').collect::<Vec<_>>()].concat()).ok();
    }
}

/// What the text tells its reader to do.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Run { on: String, text: String },
    Carry { file: String, from: String, to: String },
}

/// The blocks, and the sentences "Carry `FILE` from MACHINE to MACHINE", in their order.
fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for (number, part) in text.split("```").enumerate() {
        if number % 2 == 0 {
            let words: Vec<&str> = part.split_whitespace().filter(|word| *word != "the").collect();
            let carried = words.windows(6).filter(|words| words[0] == "Carry");
            steps.extend(carried.map(|words| {
                assert_eq!((words[2], words[4]), ("from", "to"), "{words:?}");
                let name = |word: &str| word.trim_matches(['`', '.', ',']).to_owned();
                let file = words[1].trim_matches('`').to_owned();
                Step::Carry { file, from: name(words[3]), to: name(words[5]) }
            }));
        } else if let Some(block) = part.strip_prefix("sh\n") {
            let indent = block.len() - block.trim_start().len();
            let lines: Vec<&str> = block.lines().map(|line| line.get(indent..).unwrap_or_default()).collect();
            let on = lines[0].strip_prefix("# on ").expect("a block begins with the machine's name");
            let on = on.trim_start_matches("the ").to_owned();
            steps.push(Step::Run { on, text: format!("{}\n", lines.join("\n")) });
        }
    }
    steps
}

/// The section of README.md with this title.
fn section(title: &str) -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let sections: Vec<&str> = readme.split("\n## ").collect();
    let found = sections.iter().find_map(|section| section.strip_prefix(title));
    found.unwrap_or_else(|| panic!("README.md has no section {title}")).to_owned()
}

struct Places {
    bastion: Place,
    server: Place,
    laptop: Place,
    authenticator: Option<Authenticator>,
    _wire: Wire,
}

impl Places {
    /// What the text presumes: three machines, and plain WireGuard between two of them.
    fn new() -> Self {
        let name = unique();
        let mut wire = Wire::new(&format!("{name}n"));
        let machines = ["b", "g", "l"].map(|role| Machine::new(&format!("{name}{role}")));
        let [bastion, server, laptop] = machines.each_ref().map(|machine| wire.plug(machine));
        let hosts = format!("127.0.0.1 localhost\n{bastion} bastion\n{server} app-gw\n{laptop} laptop\n");
        let mut names = ["bastion", "app-gw", "laptop"].into_iter();
        let [bastion, app_gw, laptop] = machines.map(|machine| Place::new(names.next().unwrap(), machine, &hosts));
        let (server_key, laptop_key) = (app_gw.make_interface(SERVER), laptop.make_interface("10.77.0.2"));
        app_gw.run("wg", &["set", "wg0", "listen-port", "51820"]).ok();
        app_gw.add_peer(&format!("{laptop_key} allowed-ips 10.77.0.2/32"));
        laptop.add_peer(&format!("{server_key} allowed-ips 10.77.0.0/24 endpoint {server}:51820"));
        let places = Self { bastion, server: app_gw, laptop, authenticator: None, _wire: wire };
        places.await_ping();
        places
    }

    fn named(&self, name: &str) -> &Place {
        let mut places = [&self.bastion, &self.server, &self.laptop].into_iter();
        places.find(|place| place.name == name).unwrap_or_else(|| panic!("no machine is called {name}"))
    }

    fn ping_passes(&self) -> bool {
        is_answered(&self.laptop.machine, SERVER)
    }

    fn await_ping(&self) {
        until("an answered ping", LONG, || self.ping_passes().then_some(()));
    }

    fn admin(&self, words: &[&str]) -> Ended {
        self.bastion.run("wgmfa-bastion", &[&["--config", "/srv/wgmfa/bastion.toml"], words].concat())
    }

    fn await_state(&self, state: &str) {
        until(state, LONG, || self.admin(&["key", "list"]).ok().stdout.contains(state).then_some(()));
    }

    /// The person at the laptop has the password, and an app that shows the next code.
    fn set_answers(&mut self) {
        let password = std::fs::read_to_string(self.bastion.file("password")).unwrap();
        let code = self.authenticator.as_mut().expect("user add comes before the login").next_code();
        let askpass = format!(
            "#!/bin/sh\ncase $1 in *'Password: ') echo '{}' ;; *'One-time code: ') echo {code} ;; *) exit 1 ;; esac\n",
            password.trim_end()
        );
        let path = self.laptop.machine.write("askpass", &askpass);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }

    /// Does one step, and sees to it that what the text says about it is so.
    fn do_step(&mut self, step: &Step) {
        let (on, text) = match step {
            Step::Carry { file, from, to } => {
                let content = std::fs::read(self.named(from).file(file)).unwrap();
                return std::fs::write(self.named(to).file(file), content).unwrap();
            }
            Step::Run { on, text } => (on, text),
        };
        let logs_in = text.contains("sync");
        if logs_in {
            self.set_answers();
            assert!(!self.ping_passes(), "the tunnel is open before this login:\n{text}");
        }
        let said = self.named(on).follow(text);
        if logs_in {
            self.await_ping();
            self.await_state("OK  ");
        }
        if text.contains("serve &") {
            until("the bastion's answer", LONG, || (self.admin(&["status"]).code() == 0).then_some(()));
        }
        if let Some(url) = said.split_whitespace().find(|word| word.starts_with("otpauth://")) {
            self.authenticator = Some(Authenticator::from_url(url));
        }
        if text.contains("key list") {
            self.await_state("Expired  a login is needed");
        }
    }

    /// Takes the key from the laptop and ends its session.
    fn forget_key(&self) {
        let dump = self.laptop.run("wg", &["show", "wg0", "dump"]).ok().stdout;
        let peer: Vec<&str> = dump.lines().nth(1).unwrap().split('\t').collect();
        self.laptop.add_peer(&format!("{} remove", peer[0]));
        self.laptop.add_peer(&format!("{} endpoint {} allowed-ips {}", peer[0], peer[2], peer[3]));
    }
}

#[test]
fn the_first_login_works_word_for_word() {
    let steps = steps(&section("The first login, word for word"));
    let mut places = Places::new();
    let mut logins = 0;
    for step in &steps {
        places.do_step(step);
        if matches!(step, Step::Run { text, .. } if text.contains("sync")) {
            logins += 1;
            places.forget_key(); // for the next one to bring it
        }
    }
    assert_eq!(logins, 2, "with wgmfa, and with stock tools: {steps:#?}");
    places.admin(&["why", "justin"]).ok();
}
