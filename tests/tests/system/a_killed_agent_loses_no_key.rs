//! The agent is killed (SIGKILL) after each step of a rotation and of a release. Afterwards nobody does anything but log
//! in, and no key that is over works.

use std::os::unix::process::ExitStatusExt;

use wgmfa_tests::Lab;
use wgmfa_tests::daemon::Daemon;
use wgmfa_tests::lab::DEVICE;

/// How an agent works.
#[derive(Clone, Copy)]
enum Agent {
    /// It stays.
    Resident,
    /// It comes by.
    Cron,
}

impl Agent {
    /// Works without accidents until a key waits.
    fn work(self, lab: &mut Lab) {
        match self {
            Self::Resident => lab.gateway.start(),
            Self::Cron => drop(lab.gateway.agent(&["rotate"]).ok()),
        }
        lab.await_waiting_key();
    }

    /// Works until it is killed at this point. A rotation is ordered before that, or by then.
    fn be_killed(self, lab: &mut Lab, point: &str, order: impl Fn(&Lab)) {
        let word = match self {
            Self::Resident => "run",
            Self::Cron => {
                order(lab);
                "rotate"
            }
        };
        let mut agent = Daemon::start(lab.gateway.command().arg(word).env("WGMFA_CRASH_AT", point));
        if matches!(self, Self::Resident) {
            order(lab);
        }
        assert_eq!(agent.await_end().signal(), Some(9), "it is killed at {point}: {}", agent.said());
    }

    /// Both the first rotation and a later one, which ends a session, are cut short at this point.
    fn survives(self, point: &str) {
        let mut lab = Lab::new("1h");
        let [configured, _] = lab.preshared_keys().map(|key| key.expect("the lab begins with one"));
        self.be_killed(&mut lab, point, |_| {});
        if point == "deposited" {
            let peer = &lab.gateway.status()["peers"][0];
            assert_eq!(
                (&peer["hold"], &peer["fault"]),
                (&"locked".into(), &serde_json::Value::Null),
                "not yet applied"
            );
        }
        if point != "noted" {
            let refused = lab.laptop.sync(&[]);
            assert!(refused.code() != 0, "released before it was applied and confirmed: {refused:#?}");
            assert_eq!(lab.bastion.log("released").len(), 0);
        }
        let half_done = lab.preshared_keys()[0].clone().expect("a key");
        self.work(&mut lab);
        assert_no_way_in(&lab, &[&configured, &half_done]);
        lab.log_in();
        if matches!(self, Self::Cron) {
            lab.gateway.agent(&["rotate"]).ok(); // it hears of the session
        }

        let [released, _] = lab.preshared_keys().map(|key| key.expect("a key was released"));
        if let Some(mut agent) = lab.gateway.agent.take() {
            agent.stop();
        }
        self.be_killed(&mut lab, point, |lab| {
            // 6: the agent that has the session to end is away, or dies before it has confirmed
            let ordered = lab.bastion.admin(&["key", "rotate", DEVICE, "--reason", "test"]);
            assert!([0, 6].contains(&ordered.code()), "{ordered:#?}");
        });
        let half_done = lab.preshared_keys()[0].clone().expect("a key");
        self.work(&mut lab);
        assert_no_way_in(&lab, &[&released, &half_done]);
        lab.log_in();
        lab.bastion.admin(&["log", "verify"]).ok();
        let alarms = lab.bastion.log("changed-outside");
        assert!(alarms.is_empty(), "nobody but the agent changed anything: {alarms:#?}");
    }
}

/// None of these keys lets the laptop in, unless it is the one that waits now and that only root on the gateway has seen.
fn assert_no_way_in(lab: &Lab, keys: &[&String]) {
    let [waiting, _] = lab.preshared_keys();
    for key in keys.iter().filter(|key| waiting.as_ref() != Some(key)) {
        assert!(!lab.accepts(key), "a key that is over is accepted");
    }
    assert_ne!(waiting.as_ref(), Some(keys[0]), "a key that was used is the one that waits");
}

macro_rules! at_each_point {
    ($($point:ident),*) => {
        mod a_resident_agent_killed_when_it_has {
            $(#[test] fn $point() { super::Agent::Resident.survives(stringify!($point)); })*
        }
        mod a_cron_agent_killed_when_it_has {
            $(#[test] fn $point() { super::Agent::Cron.survives(stringify!($point)); })*
        }
    };
}

at_each_point!(reported, locked, deposited, saved, applied, noted);

/// The agent dies while the bastion waits for it to open: the release goes on, since the server accepts the key already.
fn killed_while_it_opens(point: &str) {
    let mut lab = Lab::new("30s");
    lab.gateway.start_with(&[("WGMFA_CRASH_AT", point)]);
    lab.await_waiting_key();
    lab.log_in();
    let mut killed = lab.gateway.agent.take().expect("it was started");
    assert_eq!(killed.await_end().signal(), Some(9), "{point}");
    let [released, held] = lab.preshared_keys();
    assert_eq!(released, held, "both ends have the released key");

    lab.gateway.start();
    let agent = lab.gateway.agent.as_ref().expect("it was started");
    // by its own timer, or because the bastion was the first to notice
    let locked = agent.await_line_from(0, "the lock", wgmfa_tests::wait::LONG * 2, |line| {
        line.text.contains(": locked: the session")
    });
    let pings = lab.pings();
    lab.await_waiting_key();
    assert!(!lab.accepts(&released.expect("a key")));
    pings.assert_none_after(locked.at);
    lab.log_in();
}

#[test]
fn a_session_whose_opening_was_not_heard_ends_at_its_deadline() {
    killed_while_it_opens("open-received");
}

#[test]
fn a_session_whose_opening_was_not_confirmed_ends_at_its_deadline() {
    killed_while_it_opens("opened");
}

#[test]
fn a_killed_agent_that_comes_back_lets_a_session_run_on() {
    let mut lab = Lab::with_resident_agent("1h");
    lab.log_in();
    lab.gateway.agent.as_mut().expect("it runs").kill();
    lab.gateway.start();
    let agent = lab.gateway.agent.as_ref().expect("it was started");
    wgmfa_tests::wait::until("its first round", wgmfa_tests::wait::LONG, || {
        (lab.bastion.log("host-connected").len() >= 2).then_some(())
    });
    lab.await_answer();
    assert!(!agent.said().contains("locked"), "{}", agent.said());
}
