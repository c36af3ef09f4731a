//! The machines of a text on one Ethernet, and the people at them.

use std::collections::BTreeMap;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wgmfa_tests::code::Authenticator;
use wgmfa_tests::machine::{Machine, Wire, unique};
use wgmfa_tests::ping::is_answered;
use wgmfa_tests::program::{Ended, run};
use wgmfa_tests::wait::{LONG, until};

use super::place::Place;
use crate::conversation::Conversation;

/// What a person answers.
pub struct Person {
    pub password: String,
    pub authenticator: Authenticator,
}

/// All of them. A machine called `bastion` is the bastion, one whose name ends in `-gw` is a gateway.
pub struct Machines {
    pub places: Vec<Place>,
    /// By name.
    pub people: BTreeMap<String, Person>,
    /// What `wgmfa-bastion` is told in front of each command.
    pub options: Vec<&'static str>,
    _wire: Wire,
}

impl Machines {
    /// Machines that find each other by name, at 10.99.0.1, .2, .3 … in this order.
    pub fn new(names: &[&str]) -> Self {
        let mut wire = Wire::new(&format!("{}n", unique()));
        let machines: Vec<Machine> = names.iter().map(|_| Machine::new(&format!("{}m", unique()))).collect();
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        for (name, machine) in names.iter().zip(&machines) {
            hosts.push_str(&format!("{} {name}\n", wire.plug(machine)));
        }
        let places = names.iter().zip(machines).map(|(name, machine)| Place::new(name, machine, &hosts)).collect();
        Self { places, people: BTreeMap::new(), options: Vec::new(), _wire: wire }
    }

    #[track_caller]
    pub fn named(&self, name: &str) -> &Place {
        self.all(name)[0]
    }

    /// The machines that a text means: `each gateway`, `each laptop`, or one name.
    #[track_caller]
    pub fn all(&self, meant: &str) -> Vec<&Place> {
        let is_meant = |name: &str| match meant {
            "each gateway" => name.ends_with("-gw"),
            "each laptop" => name.ends_with("laptop"),
            _ => name == meant,
        };
        let found: Vec<&Place> = self.places.iter().filter(|place| is_meant(&place.name)).collect();
        assert!(!found.is_empty(), "no machine is called {meant}");
        found
    }

    /// Copies a file; in its name, `NAME` stands for the machine that it comes from.
    #[track_caller]
    pub fn carry(&self, file: &str, from: &str, to: &str) {
        for from in self.all(from) {
            let file = file.replace("NAME", &from.name);
            let content = std::fs::read(from.file(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            for to in self.all(to) {
                std::fs::write(to.file(&file), &content).unwrap();
            }
        }
    }

    /// Runs a block where it is to be run, and waits until a bastion that it starts answers. Gives what it printed.
    #[track_caller]
    pub fn run(&self, on: &str, text: &str) -> String {
        let said = self.all(on).into_iter().map(|place| place.follow(text)).collect();
        if text.contains("serve &") {
            until("the bastion's answer", LONG, || (self.admin(&["status"]).code() != 5).then_some(()));
        }
        said
    }

    /// Ends a program on a machine as its unit would, and waits until it is gone with all its processes.
    #[track_caller]
    pub fn stop(&self, on: &str, program: &str) {
        let is_it = |pid: &Pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim_end() == program
        };
        let left = || -> Vec<Pid> { self.named(on).machine.pids().into_iter().filter(|pid| is_it(pid)).collect() };
        left().into_iter().for_each(|pid| _ = kill(pid, Signal::SIGTERM));
        until(&format!("the end of {program}"), LONG, || left().is_empty().then_some(()));
    }

    /// A person enrols, with a block of theirs that has `wgmfa-enrol` in it.
    #[track_caller]
    pub fn enrol(&mut self, user: &str, on: &str, text: &str, invitation: &str) {
        let password = format!("the password of {user}");
        let place = self.named(on);
        place.set_answers(invitation, "");
        let mut enrolment = Conversation::start(&mut place.block(text));
        assert!(enrolment.say(format!("{password}\n{password}\n").as_bytes()));
        let heard = || enrolment.hear().expect("an otpauth URL");
        let url = std::iter::repeat_with(heard).find(|line| line.starts_with("otpauth://")).unwrap_or_default();
        let mut authenticator = Authenticator::from_url(url.trim());
        assert!(enrolment.say(format!("{}\n", authenticator.next_code()).as_bytes()));
        while enrolment.hear().is_some() {}
        let (status, stderr) = enrolment.end();
        assert!(status.success(), "{stderr}");
        self.people.insert(user.to_owned(), Person { password, authenticator });
    }

    /// Prepares the answers of a person's next login.
    #[track_caller]
    pub fn prepare_login(&mut self, user: &str, on: &str) {
        let person = self.people.get_mut(user).unwrap_or_else(|| panic!("{user} has no password yet"));
        let code = person.authenticator.next_code();
        let password = person.password.clone();
        self.named(on).set_answers(&password, &code);
    }

    /// An administrator's command on the bastion.
    #[track_caller]
    pub fn admin(&self, words: &[&str]) -> Ended {
        let mut command = self.named("bastion").command("wgmfa-bastion");
        run(command.args(&self.options).args(words), b"")
    }

    /// Sees what the text shows: waits until `key list` has these rows. What stands behind a state (how much time is left)
    /// may be another.
    #[track_caller]
    pub fn see(&self, rows: &[String]) {
        assert!(rows[0].starts_with("HOST "), "what else a text shows is not known here: {rows:?}");
        for wanted in rows.iter().map(|row| columns(row)) {
            until(&format!("a row {wanted:?} in key list"), LONG, || {
                let table = self.admin(&["key", "list"]).ok().stdout;
                table.lines().any(|line| columns(line) == wanted).then_some(())
            });
        }
    }

    /// Waits until `key list` shows this somewhere.
    #[track_caller]
    pub fn await_state(&self, state: &str) {
        until(state, LONG, || self.admin(&["key", "list"]).ok().stdout.contains(state).then_some(()));
    }

    pub fn ping_passes(&self, from: &str, to: &str) -> bool {
        is_answered(&self.named(from).machine, to)
    }

    #[track_caller]
    pub fn await_ping(&self, from: &str, to: &str) {
        until(&format!("a ping from {from} to {to}"), LONG, || self.ping_passes(from, to).then_some(()));
    }
}

/// The columns of a row up to the state.
fn columns(row: &str) -> Vec<&str> {
    row.split("  ").map(str::trim).filter(|column| !column.is_empty()).take(5).collect()
}

/// The invitation that `user add --invite` and `user reset` print: the first line that is set off.
#[track_caller]
pub fn invitation(said: &str) -> String {
    let found = said.lines().find_map(|line| line.strip_prefix("    "));
    found.unwrap_or_else(|| panic!("no invitation in: {said}")).trim().to_owned()
}
