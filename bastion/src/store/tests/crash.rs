//! A process that is killed leaves whole transactions or nothing.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use wgmfa_core::code::Step;
use wgmfa_core::release::Phase;

use super::*;

/// Tells a child of these tests which folder to work in; without it the child's test does nothing.
const FOLDER: &str = "WGMFA_STORE_TEST_FOLDER";

/// Runs one test of this program in a process of its own.
fn start(test: &str, state: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("store::tests::crash::{test}"), "--nocapture", "--test-threads=1"])
        .env(FOLDER, state)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the child with SIGKILL once it has printed so many lines that begin with `prefix`; answers with the last.
fn kill_after(mut child: Child, prefix: &str, lines: usize) -> String {
    let output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // the harness writes the test's name and no newline in front of the first
    let found = output.filter_map(|line| line.find(prefix).map(|at| line[at..].to_owned())).nth(lines - 1);
    child.kill().unwrap();
    child.wait().unwrap();
    found.expect("the child ended before it was killed")
}

fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

#[test]
fn child_stops_in_the_middle_of_a_transaction() {
    let Some(state) = std::env::var_os(FOLDER) else { return };
    let store = open_at(Path::new(&state));
    let _ = store.write(at(100), |w| {
        let sql = "UPDATE people SET last_step = 77 WHERE name = 'justin'";
        assert_eq!(w.execute(sql, [])?, 1);
        w.audit(Note::new(Event::CodeAccepted).user(user()))?;
        w.execute("UPDATE places SET highest = 99", [])?;
        say("inside");
        loop {
            std::thread::park();
        }
        #[allow(unreachable_code)]
        Ok(())
    });
}

#[test]
fn a_transaction_that_was_cut_short_never_was() {
    let (folder, store) = with_applied(1);
    let state = folder.path().join("state");
    let head = store.log_head().unwrap();
    kill_after(start("child_stops_in_the_middle_of_a_transaction", &state), "inside", 1);
    drop(store);
    let store = open_at(&state);
    assert_eq!(store.log_head().unwrap(), head);
    assert_eq!(store.record(&place()).unwrap().unwrap().highest, 1);
    assert_eq!(store.credentials(&user()).unwrap().unwrap().last_step, None);
    let code = store.accept_code(at(101), &login(&user()), Step::from_number(77)).unwrap();
    assert_eq!(code, Acceptance::Accept, "the code was not used up");
    assert_intact(&store);
}

#[test]
fn child_works_until_it_is_killed() {
    let Some(state) = std::env::var_os(FOLDER) else { return };
    let store = open_at(Path::new(&state));
    let first = store.record(&place()).unwrap().map_or(0, |record| record.highest);
    for n in first + 1.. {
        let now = at(10 * n.cast_signed());
        assert_eq!(store.deposit(now, &host(), &[deposit(n)]).unwrap(), [which(n)]);
        say(&format!("deposited {n}"));
        store.applied(now, &host(), &[which(n)]).unwrap();
        let login = passed(&store, now);
        let deadline = now + SignedDuration::from_secs(5);
        let outcome = store.release(now, &login, device().as_str(), &[wanted(n, deadline)]).unwrap();
        assert_eq!(outcome.granted.len(), 1);
        say(&format!("released {n}"));
        if n % 2 == 0 {
            store.expire(deadline).unwrap();
        }
    }
}

#[test]
fn what_was_said_to_be_on_disk_is_there_after_a_kill() {
    let (folder, store) = furnished();
    drop(store);
    let state = folder.path().join("state");
    for round in 1..=8 {
        let said = kill_after(start("child_works_until_it_is_killed", &state), "deposited", 1 + round * 3);
        let said: u64 = said.strip_prefix("deposited ").unwrap().parse().unwrap();
        let store = open_at(&state);
        assert_intact(&store);
        let record = store.record(&place()).unwrap().unwrap();
        assert!(record.highest >= said, "{} is on disk, {said} was said", record.highest);
        for (event, generation) in [
            (Event::Deposited, Some(record.highest)),
            (Event::Applied, record.current.as_ref().map(|current| current.generation)),
            (
                Event::Released,
                record.current.filter(|current| current.phase != Phase::Applied).map(|current| current.generation),
            ),
        ] {
            let lines = store.log(&Filter { event: Some(event), limit: Some(1), ..Filter::default() }).unwrap();
            if let Some(generation) = generation {
                assert_eq!(
                    lines[0].generation,
                    Some(generation),
                    "what is on disk has its line, and no line is without"
                );
            }
        }
    }
}
