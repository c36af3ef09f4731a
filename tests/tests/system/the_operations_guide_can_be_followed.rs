//! `doc/operations.md`: each block of each section runs, in order, where its first line says, on a site for which it is
//! meant; and what the section promises is so.

use wgmfa_tests::code::Authenticator;
use wgmfa_tests::tunnel::Keys;
use wgmfa_tests::wait::{LONG, until};

use super::a_clock_that_is_set_back_opens_nothing::libfaketime;
use super::documents::machines::{Machines, Person, invitation};
use super::documents::section;
use super::documents::steps::{Step, steps};

/// The server's address in the tunnel.
const SERVER: &str = "10.77.0.1";

/// What the page presumes, and people who use it.
struct Site {
    machines: Machines,
    said: String,
}

impl Site {
    /// A bastion, a gateway with a resident agent, and justin at his laptop, who is in.
    fn new() -> Self {
        Self::with_a_past("")
    }

    /// The same; the bastion has run before, with this environment, and has invited somebody then.
    fn with_a_past(environment: &str) -> Self {
        let machines = Machines::new(&["bastion", "app-gw", "laptop"]);
        let (server, laptop) = (Keys::generate(), Keys::generate());
        machines.named("app-gw").wg_quick(
            "wg0",
            &format!(
                "[Interface]\nPrivateKey = {}\nAddress = {SERVER}/24\nListenPort = 51820\n\n[Peer]\nPublicKey = {}\n\
                 AllowedIPs = 10.77.0.2/32\n",
                server.private, laptop.public
            ),
        );
        machines.named("laptop").wg_quick(
            "wg0",
            &format!(
                "[Interface]\nPrivateKey = {}\nAddress = 10.77.0.2/24\n\n[Peer]\nPublicKey = {}\n\
                 AllowedIPs = 10.77.0.0/24\nEndpoint = 10.99.0.2:51820\n",
                laptop.private, server.public
            ),
        );
        let mut site = Self { machines, said: String::new() };
        site.make_bastion();
        if !environment.is_empty() {
            site.serve_meanwhile(environment, |machines| _ = machines.admin(&["user", "add", "zoe", "--invite"]).ok());
        }
        site.machines.run("bastion", "wgmfa-bastion serve &\n");
        site.introduce(&laptop.public);
        site.log_in();
        site
    }

    fn make_bastion(&self) {
        self.machines.named("bastion").install_bastion();
        let policy = wgmfa_tests::lab::policy("1h", "app-gw/wg0");
        let block = format!(
            "wgmfa-bastion init\nprintf '{policy}' >/etc/wgmfa/policy.d/101-prod.toml\n\
             rm /etc/wgmfa/policy.d/500-example.toml\n"
        );
        self.machines.run("bastion", &block);
    }

    /// Runs a bastion with this environment, for so long as `act` takes.
    fn serve_meanwhile(&self, environment: &str, act: impl FnOnce(&Machines)) {
        self.machines.run("bastion", &format!("{environment} wgmfa-bastion serve &\n"));
        act(&self.machines);
        self.machines.stop("bastion", "wgmfa-bastion");
    }

    fn introduce(&mut self, laptop: &str) {
        let machines = &mut self.machines;
        let person = "the password of justin";
        let added = machines.run(
            "bastion",
            &format!(
                "wgmfa-bastion host-key > host-key\necho '{person}' | wgmfa-bastion user add justin --password-stdin\n\
                 wgmfa-bastion device add justins-laptop --owner justin --public-key '{laptop}'\n"
            ),
        );
        let url = added.split_whitespace().find(|word| word.starts_with("otpauth://")).expect("a URL");
        let justin = Person { password: person.to_owned(), authenticator: Authenticator::from_url(url) };
        machines.people.insert("justin".to_owned(), justin);
        machines.carry("host-key", "bastion", "app-gw");
        machines.carry("host-key", "bastion", "laptop");
        let init =
            "wgmfa-agent init --bastion bastion:2222 --known-host \"$(cat host-key)\" --print-key > app-gw.pub\n";
        machines.run("app-gw", init);
        machines.carry("app-gw.pub", "app-gw", "bastion");
        machines.run("bastion", "wgmfa-bastion host add app-gw --key app-gw.pub\n");
        machines.run("app-gw", "wgmfa-agent run &\n");
        let config = "mkdir -p ~/.ssh\ncat host-key >~/.ssh/known_hosts\n\
                      printf 'Host bastion\\n  Port 2222\\n  User justin\\n' >~/.ssh/config\n";
        machines.run("laptop", config);
    }

    /// Justin logs in once a key waits for him, and a ping is answered.
    #[track_caller]
    fn log_in(&mut self) {
        self.log_in_with("wgmfa sync bastion --interface wg0\n");
    }

    #[track_caller]
    fn log_in_with(&mut self, block: &str) {
        self.machines.await_state("Expired  a login is needed");
        assert!(!self.passes(), "the tunnel is open before the login");
        self.machines.prepare_login("justin", "laptop");
        self.machines.run("laptop", block);
        self.machines.await_ping("laptop", SERVER);
    }

    fn passes(&self) -> bool {
        self.machines.ping_passes("laptop", SERVER)
    }

    /// Whether stock `ssh` gets in with these answers.
    fn gets_in(&self, password: &str, code: &str) -> bool {
        self.machines.named("laptop").set_answers(password, code);
        self.machines.named("laptop").run("ssh", &["bastion", "wgmfa-status"]).code() == 0
    }

    #[track_caller]
    fn await_agent(&self) {
        until("the agent's contact", LONG, || {
            let hosts = self.machines.admin(&["--json", "host", "list"]).ok().json();
            (hosts["hosts"][0]["connected"] == true).then_some(())
        });
    }

    /// Follows a section; each block is given to `act`, which says whether it has dealt with it.
    fn follow(&mut self, title: &str, mut act: impl FnMut(&mut Self, &str, &str) -> bool) {
        for step in steps(&section("doc/operations.md", title)) {
            match step {
                Step::Carry { file, from, to } => self.machines.carry(&file, &from, &to),
                Step::See { lines } => self.machines.see(&lines),
                Step::Run { on, text } => {
                    if !act(self, &on, &text) {
                        self.said = self.machines.run(&on, &text);
                    }
                }
            }
        }
    }

    /// Follows a section as it stands.
    fn follow_all(&mut self, title: &str) {
        self.follow(title, |_, _, _| false);
    }

    /// The events of this kind in the audit log.
    fn count(&self, event: &str) -> usize {
        let log = self.machines.admin(&["--json", "log", "--event", event]).ok().json();
        log["lines"].as_array().expect("lines").len()
    }
}

#[test]
fn one_finds_out_what_is_wrong() {
    let mut site = Site::new();
    site.follow_all("Where to look first");
    assert!(!site.gets_in("wrong", "000000"));
    site.follow("Nobody can get in", |site, on, text| {
        if text.contains("login-refused") {
            let said = site.machines.run(on, text);
            assert!(said.contains("login-refused") && said.contains("justin"), "{said}");
        }
        text.contains("login-refused")
    });
}

#[test]
fn a_lost_phone_is_replaced() {
    let mut site = Site::new();
    let mut invited = String::new();
    site.follow("A phone is lost", |site, on, text| {
        if text.contains("wgmfa-enrol") {
            let old = site.machines.people["justin"].password.clone();
            let code = site.machines.people.get_mut("justin").expect("he is there").authenticator.next_code();
            assert!(!site.gets_in(&old, &code), "what was lost is dead");
            site.machines.enrol("justin", on, text, &invited);
            return true;
        }
        let said = site.machines.run(on, text);
        let handout = invitation(&said);
        if text.contains("user code") {
            let password = site.machines.people["justin"].password.clone();
            assert!(site.gets_in(&password, &handout));
            assert!(!site.gets_in(&password, &handout), "it is good once");
        } else {
            site.machines.await_ping("laptop", SERVER); // running sessions go on
            invited = handout;
        }
        true
    });
    let code = site.machines.people.get_mut("justin").expect("he is there").authenticator.next_code();
    let password = site.machines.people["justin"].password.clone();
    assert!(site.gets_in(&password, &code), "the new app");
}

#[test]
fn a_lost_laptop_is_replaced() {
    let mut site = Site::new();
    site.follow("A laptop is lost", |site, on, text| {
        if text.contains("wgmfa sync") {
            site.log_in_with(text);
            return true;
        }
        site.machines.run(on, text);
        if text.contains("device disable") {
            assert!(!site.passes(), "it is locked at once");
        }
        true
    });
    let devices = site.machines.admin(&["device", "list"]).ok().stdout;
    assert!(devices.contains("justins-new-laptop") && !devices.contains("justins-laptop"), "{devices}");
}

#[test]
fn root_opens_a_peer_while_the_bastion_is_down() {
    let mut site = Site::new();
    site.machines.admin(&["key", "rotate", "app-gw/wg0:justins-laptop", "--reason", "test"]).ok();
    assert!(!site.passes());
    site.machines.stop("bastion", "wgmfa-bastion");
    site.follow("The bastion is down", |site, on, text| {
        site.said = site.machines.run(on, text);
        if text.contains("preshared-key") {
            site.machines.await_ping("laptop", SERVER);
        }
        if text.contains("serve &") {
            site.await_agent();
        }
        true
    });
    assert!(site.said.contains("the bastion is down"), "{}", site.said);
    site.machines.await_ping("laptop", SERVER); // nobody is thrown out
}

#[test]
fn a_gateway_is_replaced() {
    let mut site = Site::new();
    site.machines.stop("app-gw", "wgmfa-agent");
    site.machines.run("app-gw", "rm -r /etc/wgmfa /var/lib/wgmfa-agent\n");
    site.follow_all("A gateway is replaced");
    site.await_agent();
    site.log_in();
}

/// The environment of a program whose clock shows another time.
fn clock(offset: &str) -> String {
    format!("LD_PRELOAD={} FAKETIME={offset} FAKETIME_DONT_FAKE_MONOTONIC=1", libfaketime())
}

#[test]
fn a_clock_that_was_wrong_is_set_back() {
    let mut site = Site::new();
    site.machines.stop("bastion", "wgmfa-bastion");
    site.serve_meanwhile(&clock("+1d"), |_| {});
    site.machines.run("bastion", "wgmfa-bastion serve &\n");
    assert!(site.machines.admin(&["status"]).stdout.contains("clock reset"), "status names the way back");
    site.follow_all("The clock was wrong");
    assert_eq!(site.count("clock-reset"), 1);
    site.machines.await_state("Expired  a login is needed");
    assert!(!site.passes());
}

#[test]
fn old_lines_of_the_log_make_room() {
    let mut site = Site::with_a_past(&clock("-400d"));
    site.follow_all("The disk is full");
    assert_eq!(site.count("user-added"), 2, "zoe, long ago, and justin");
    let prune = site.said.lines().find_map(|line| line.find("wgmfa-bastion log prune").map(|at| line[at..].to_owned()));
    site.machines.run("bastion", &prune.expect("the command that removes them"));
    assert_eq!(site.count("user-added"), 1);
    site.follow_all("Is the audit log whole?");
}

#[test]
fn a_person_leaves_and_a_backup_is_put_back() {
    let mut site = Site::new();
    site.follow("A person leaves", |site, on, text| {
        site.machines.run(on, text);
        assert!(!site.passes(), "at once");
        true
    });
    assert!(!site.machines.admin(&["user", "list"]).ok().stdout.contains("justin"));
    site.follow("Backup and restore", |site, on, text| {
        if text.contains("wgmfa-bastion restore") {
            site.machines.stop("bastion", "wgmfa-bastion");
        }
        site.machines.run(on, text);
        true
    });
    assert_eq!(site.count("restored"), 1);
}
