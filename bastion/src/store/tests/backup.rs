//! A backup is whole, and a restored store lets nobody in by what was good before.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use wgmfa_core::code::Step;
use wgmfa_core::guessing::{Attempt, attempt};

use super::*;

fn sealing() -> SealingKey {
    SealingKey::from_bytes([3; 32])
}

/// The whole text of a backup.
fn backup(store: &Store) -> String {
    let mut copying = store.begin_backup(at(50)).unwrap();
    let mut backup = loop {
        if let Some(backup) = copying.finish(store).unwrap() {
            break backup;
        }
        std::thread::yield_now();
    };
    let mut text = backup.first_line();
    loop {
        let (line, is_last) = backup.next_line().unwrap();
        text.push_str(&line);
        if is_last {
            store.note_backup(at(50), Actor::ROOT, &backup.head).unwrap();
            return text;
        }
    }
}

/// A store in use: a session runs, another code was used, recovery codes are left. Its folder and a backup of it.
fn in_use() -> (TempDir, PathBuf, Store, String) {
    let (folder, store) = with_applied(5);
    let login = passed(&store, at(20));
    let tier = WantedTier { place: place(), tier: "admin".parse().unwrap(), until: at(3600) };
    let keys = [wanted(5, at(3600))];
    let outcome = store.release_with_tiers(at(20), &login, device().as_str(), &keys, &[tier]).unwrap();
    assert_eq!((outcome.granted.len(), outcome.opened.len()), (1, 1));
    let text = backup(&store);
    let state = folder.path().join("state");
    (folder, state, store, text)
}

#[test]
fn a_backup_says_what_it_is_and_holds_no_secret_in_clear() {
    let (_folder, state, store, text) = in_use();
    let head: BackupHead = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((head.made, head.sealing_key.len()), (at(50), 16));
    assert!(head.log_head.seq > 0 && head.log_head.seq < store.log_head().unwrap().seq);
    assert_eq!(store.backed_up_at().unwrap(), Some(at(50)));
    assert_eq!(last_line(&store).event, "backed-up");
    let names = std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.collect::<Vec<_>>().iter().all(|name| name.starts_with("wgmfa.db")), "nothing is left behind");
    let body: String = text.lines().filter(|line| !line.starts_with('{')).collect();
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap();
    let holds = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    assert!(holds(b"justins-laptop"));
    assert!(!holds(key(5).expose_bytes()) && !holds(&[9; 20]) && !holds(&[3; 32]));
}

#[test]
fn after_a_restore_nothing_of_before_lets_anybody_in() {
    let (_folder, state, store, text) = in_use();
    // what happened after the backup was made
    store.deposit(at(60), &host(), &[deposit(6)]).unwrap();
    let later = store.log_head().unwrap();
    drop(store);
    let restored = restore(&state, text.as_bytes(), sealing(), at(1000)).unwrap();
    assert!(restored.replaced.unwrap().exists());

    let store = open_at(&state);
    assert_intact(&store);
    let record = store.record(&place()).unwrap().unwrap();
    assert_eq!(record.current.map(|current| current.phase), Some(wgmfa_core::release::Phase::Expired));
    assert!(record.rotation_ordered.unwrap().contains("restored"));
    assert!(store.unseal(at(1001), &place(), 5).is_err(), "the session is over");
    assert!(store.grants().unwrap().is_empty(), "no grant is in force");
    let closed = &store.log(&Filter { event: Some(Event::Revoked), ..Filter::default() }).unwrap()[0];
    assert_eq!(closed.reason.as_deref(), Some("tier admin: the bastion was restored from a backup"));

    // codes of up to now are refused, also one that was accepted a step early
    let step = |second: i64| Step::at(at(second));
    for used in [step(20), step(999), step(1000), Step::last_before(at(1000))] {
        let found = store.accept_code(at(1000), &login(&user()), used).unwrap();
        assert!(matches!(found, Acceptance::Refuse(_)), "{used:?}");
    }
    let found = store.use_recovery_code(at(1001), &login(&user()), &[1; 32]).unwrap();
    assert!(matches!(found, Acceptance::Refuse(_)));
    assert_eq!(store.accept_code(at(1061), &login(&user()), step(1061)).unwrap(), Acceptance::Accept);

    // the gap has a name
    let line = &store.log(&Filter { event: Some(Event::Restored), ..Filter::default() }).unwrap()[0];
    let head: BackupHead = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let Head { seq, hash } = &head.log_head;
    assert!(line.reason.as_ref().unwrap().contains(&format!("whose last line is {seq} ({hash})")), "{line:?}");
    store.heard_head(at(1100), &host(), &later).unwrap();
    let missing = format!("at least {} lines after {seq} are missing", later.seq - seq);
    assert!(last_line(&store).reason.unwrap().ends_with(&missing));

    // generations go on above what the host has made
    store.raise_highest(at(1100), &host(), &[which(6)]).unwrap();
    assert_eq!(store.record(&place()).unwrap().unwrap().highest, 6);
    assert_eq!(store.deposit(at(1101), &host(), &[deposit(6)]).unwrap(), []);
    assert_eq!(store.deposit(at(1101), &host(), &[deposit(7)]).unwrap(), [which(7)]);
    assert_intact(&store);
}

#[test]
fn each_store_that_was_replaced_is_kept_also_within_one_second() {
    let (_folder, state, store, text) = in_use();
    drop(store);
    let first = restore(&state, text.as_bytes(), sealing(), at(1000)).unwrap().replaced.unwrap();
    let whole = std::fs::read(&first).unwrap();
    let second = restore(&state, text.as_bytes(), sealing(), at(1000)).unwrap().replaced.unwrap();
    assert_ne!(first, second);
    assert!(second.exists());
    assert_eq!(std::fs::read(&first).unwrap(), whole);
}

#[test]
fn generations_are_raised_by_what_a_host_has_made_and_by_nothing_else() {
    let (_folder, store) = with_applied(5);
    store.raise_highest(at(10), &host(), &[which(5), which(3)]).unwrap();
    assert_eq!(store.record(&place()).unwrap().unwrap().highest, 5);
    assert!(store.unseal(at(10), &place(), 5).is_ok(), "what is known is not ended");
    store.raise_highest(at(10), &host(), &[which((1 << 53) + 1)]).unwrap();
    assert_eq!(store.record(&place()).unwrap().unwrap().highest, 5);
    // a peer that nobody registered makes no place that stays for ever
    let stranger = PeerGeneration { peer: peer(77), generation: 9 };
    store.report(at(11), &host(), &report(&[interface("devices", GATEWAY, &[LAPTOP, 77])])).map(drop).unwrap();
    store.raise_highest(at(12), &host(), &[stranger]).unwrap();
    assert_eq!(store.records().unwrap().len(), 1);
    store.raise_highest(at(12), &host(), &[which(9)]).unwrap();
    assert_eq!(store.record(&place()).unwrap().unwrap().highest, 9);
    assert!(store.unseal(at(13), &place(), 5).is_err(), "an older one is over");
    assert_eq!(last_line(&store).event, "generations-raised");
}

#[test]
fn what_is_no_whole_backup_changes_nothing() {
    let (_folder, state, store, text) = in_use();
    let head = store.log_head().unwrap();
    drop(store);
    let lines: Vec<&str> = text.lines().collect();
    let without_end = lines[..lines.len() - 1].join("\n") + "\n";
    let mut changed = text.clone().into_bytes();
    let at_body = lines[0].len() + 5000;
    changed[at_body] = if changed[at_body] == b'A' { b'B' } else { b'A' };
    for (bad, why) in [
        (b"".to_vec(), "not a backup"),
        (b"no backup\n".to_vec(), "not a backup"),
        (without_end.into_bytes(), "cut off"),
        (text.as_bytes()[..text.len() / 2].to_vec(), "cut off"),
        (changed, "checksum"),
        (text.replacen("\"wgmfa-backup\":1", "\"wgmfa-backup\":2", 1).into_bytes(), "newer"),
    ] {
        let failure = restore(&state, bad.as_slice(), sealing(), at(1000)).unwrap_err();
        assert!(failure.error.contains(why), "{}", failure.error);
    }
    let failure = restore(&state, text.as_bytes(), SealingKey::from_bytes([4; 32]), at(1000)).unwrap_err();
    assert!(failure.error.contains("sealed with key"), "{}", failure.error);
    let store = open_at(&state);
    assert_eq!(store.log_head().unwrap(), head);
    let names = std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.collect::<Vec<_>>().iter().all(|name| !name.contains("rest") && !name.contains("replaced")));
}

/// Tells a child of these tests where the state folder is; the backup and the key lie beside it.
const FOLDER: &str = "WGMFA_STORE_TEST_RESTORE";

#[test]
fn child_restores() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let text = std::fs::read(folder.join("backup")).unwrap();
    let _ = restore(&folder.join("state"), text.as_slice(), sealing(), at(1000)).unwrap();
}

#[test]
fn a_restore_that_was_cut_short_is_not_served() {
    for point in ["restore-marked", "restore-set-aside", "restore-renamed"] {
        let (folder, state, store, text) = in_use();
        drop(store);
        std::fs::write(folder.path().join("backup"), &text).unwrap();
        let key = folder.path().join("sealing.key");
        std::fs::write(&key, [3; 32]).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::backup::child_restores"])
            .env(FOLDER, folder.path())
            .env("WGMFA_CRASH_AT", point)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success(), "{point}: it was killed");
        let failure = Store::open_with(&state, &key).err().expect("it must not open");
        assert!(failure.error.ends_with("a restore was cut short"), "{point}: {}", failure.error);
        let _ = restore(&state, text.as_bytes(), sealing(), at(1001)).unwrap();
        let store = Store::open_with(&state, &key).unwrap();
        assert!(store.unseal(at(1002), &place(), 5).is_err());
        assert_intact(&store);
    }
}

#[test]
fn root_can_set_the_time_back() {
    let (_folder, state, store, _) = in_use();
    let day = 86_400;
    store.note(at(day), Note::new(Event::Noted)).unwrap();
    let _ = passed(&store, at(day));
    assert_eq!(store.now(at(100)), at(day));
    let ahead = store.reset_time(at(100), Actor::ROOT, "the time server was wrong").unwrap();
    assert_eq!(ahead.as_secs(), day - 100);
    assert_eq!(store.now(at(100)), at(100));
    assert_eq!(last_line(&store).time, at(100));
    assert!(store.unseal(at(100), &place(), 5).is_err(), "all sessions are over");
    let codes = |second: i64| store.accept_code(at(second), &login(&user()), Step::at(at(second))).unwrap();
    assert!(matches!(codes(101), Acceptance::Refuse(_)));
    assert_eq!(codes(161), Acceptance::Accept);
    assert_intact(&store);
    drop(store);
    assert_eq!(open_at(&state).now(at(0)), at(161));
}

#[test]
fn a_time_above_the_limit_is_used_and_not_recorded() {
    let (folder, store) = furnished();
    store.limit_time(at(60));
    store.note(at(86_400), Note::new(Event::Noted)).unwrap();
    assert_eq!(last_line(&store).time, at(86_400));
    assert_eq!((store.recorded_time(), store.now(at(30))), (at(60), at(60)));
    drop(store);
    assert_eq!(open_at(&folder.path().join("state")).now(at(0)), at(60));
}

#[test]
fn a_mended_clock_binds_nobody_for_as_long_as_it_was_ahead() {
    let (_folder, store) = with_applied(1);
    store.limit_time(at(60));
    let (day, source) = (86_400, Source::from_rhost(Some("192.0.2.7")));
    for second in 0..5 {
        let (pair, person) = store.guesses(&user(), source).unwrap();
        let Attempt::Judge { pair, person } = attempt(&pair, &person, false, at(day + second)) else { break };
        store.charge(at(day + second), &user(), source, &pair, &person).unwrap();
    }
    let handout = Handout { hash: [1; 32], expires_at: at(day + 3600) };
    store.hand_out_code(at(day), Actor::ROOT, &user(), &handout, "lost it").unwrap();
    let same = [interface("devices", GATEWAY, &[LAPTOP])];
    let shook = |now: i64, seconds| {
        let ages = [age(LAPTOP, seconds)];
        store.report(at(now), &host(), &Report { handshake_ages: &ages, ..report(&same) }).unwrap();
        store.inventory().unwrap().hosts[0].interfaces[0].peers[0].latest_handshake
    };
    assert_eq!(shook(day, 1), Some(at(day - 1)));

    store.end_all_sessions(at(100), "the clock was set back").unwrap();
    let (_, _, pair) = store.all_guesses().unwrap().remove(0);
    assert!(pair.locks == 1 && pair.locked_until.unwrap() <= at(100 + 3600), "{pair:?}");
    assert_eq!(store.handouts(&user()).unwrap().1.unwrap().expires_at, at(100 + 3600));
    assert_eq!(shook(200, 5), Some(at(195)));
}
