//! Which folders, files and keys are accepted.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

fn refused(folder: &Path) -> Failure {
    Store::open(folder, SealingKey::from_bytes([3; 32])).err().expect("it must not open")
}

#[test]
fn folder_and_file_belong_to_nobody_else() {
    let (folder, store) = empty();
    let mode = |name: &str| folder.path().join("state").join(name).metadata().unwrap().mode() & 0o7777;
    assert_eq!(mode(""), 0o700);
    for name in ["wgmfa.db", "wgmfa.db-wal", "wgmfa.db-shm"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    drop(store);
}

#[test]
fn an_unsafe_folder_or_file_is_refused_with_its_mode() {
    let (folder, store) = empty();
    drop(store);
    let state = folder.path().join("state");
    let file = state.canonicalize().unwrap().join(FILE_NAME);

    set_permissions(&state, Permissions::from_mode(0o750)).unwrap();
    let failure = refused(&state);
    assert_eq!(failure.error, format!("{}: mode 0750: others can reach it", state.display()));
    assert_eq!(failure.hint, Some(format!("chmod go-rwx {}", state.display())));
    set_permissions(&state, Permissions::from_mode(0o700)).unwrap();

    set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(refused(&state).error, format!("{}: mode 0640: others can reach it", file.display()));
    set_permissions(&file, Permissions::from_mode(0o600)).unwrap();

    let link = folder.path().join("link");
    symlink(&state, &link).unwrap();
    assert_eq!(refused(&link).error, format!("{}: is a symbolic link", link.display()));

    let elsewhere = folder.path().join("elsewhere.db");
    std::fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert_eq!(refused(&state).error, format!("{}: is a symbolic link", file.display()));

    let missing = folder.path().join("a/b");
    assert_eq!(refused(&missing).error, format!("{}: no such folder", missing.display()));
}

#[test]
fn another_sealing_key_is_refused_by_name() {
    let (folder, store) = empty();
    drop(store);
    let failure = Store::open(&folder.path().join("state"), SealingKey::from_bytes([4; 32])).err().unwrap();
    assert!(failure.error.ends_with("sealed with another key than the one given"), "{}", failure.error);
    assert!(failure.hint.unwrap().contains("sealing key"));
}

#[test]
fn a_sealing_key_file_is_32_bytes_that_nobody_else_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sealing.key");
    std::fs::write(&path, [5; 32]).unwrap();
    set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let failure = SealingKey::read(&path).unwrap_err();
    assert_eq!(failure.error, format!("{}: mode 0640: others can read it", path.display()));
    set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(SealingKey::read(&path).is_ok());
    std::fs::write(&path, [0; 31]).unwrap();
    let failure = SealingKey::read(&path).unwrap_err();
    assert_eq!(failure.error, format!("{}: a sealing key has 32 bytes, this file has 31", path.display()));
}

#[test]
fn a_newer_store_and_a_foreign_database_are_left_alone() {
    let (folder, store) = empty();
    let state = folder.path().join("state");
    store.connection.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let failure = refused(&state);
    let error = format!("made by a newer wgmfa-bastion (version 99, this one knows {})", schema::VERSION);
    assert!(failure.error.ends_with(&error), "{failure}");

    let other = tempfile::tempdir().unwrap();
    let state = other.path().join("state");
    std::fs::DirBuilder::new().create(&state).unwrap();
    set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
    let file = state.join(FILE_NAME);
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let before = std::fs::read(&file).unwrap();
    assert!(refused(&state).error.ends_with("not a store of wgmfa-bastion"));
    assert!(std::fs::read(&file).unwrap() == before, "not so much as the journal's mode is changed");

    std::fs::write(&file, "no database at all, but long enough to be taken for the header of one ".repeat(20)).unwrap();
    assert!(refused(&state).error.contains("not a database"));
}

#[test]
fn a_newer_store_stays_byte_for_byte_also_with_a_journal_left_from_a_power_cut() {
    let (folder, store) = with_applied(1);
    store.connection.pragma_update(None, "user_version", 99).unwrap();
    // as a power cut leaves them: what was written last stands in the journal alone
    let state = folder.path().join("cut");
    std::fs::DirBuilder::new().create(&state).unwrap();
    set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
    let files = [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal")];
    let from = store.path.parent().unwrap();
    files.iter().for_each(|name| _ = std::fs::copy(from.join(name), state.join(name)).unwrap());
    let contents = || files.clone().map(|name| std::fs::read(state.join(name)).unwrap());
    let before = contents();
    assert!(!before[1].is_empty(), "there is a journal");
    let failure = refused(&state);
    assert!(failure.error.contains("made by a newer wgmfa-bastion (version 99"), "{failure}");
    assert_eq!(failure.hint.as_deref(), Some("install the newer program again, or restore a backup"));
    assert!(contents() == before);
}

#[test]
fn a_store_of_version_2_is_brought_forward_with_all_it_holds() {
    let (folder, store) = with_applied(1);
    let login = passed(&store, at(10));
    let _ = store.release(at(10), &login, device().as_str(), &[wanted(1, at(3600))]).unwrap();
    let (head, record) = (store.log_head().unwrap(), store.record(&place()).unwrap());
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table'
                  AND name NOT IN ('grants', 'code_guesses', 'used_by_hand')";
    let names = |connection: &Connection| -> Vec<String> {
        let mut statement = connection.prepare(tables).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let now = names(&store.connection);
    drop(store);

    // the same content in the tables of that version
    let (new, old) = (folder.path().join("state").join(FILE_NAME), folder.path().join("old.db"));
    let before = Connection::open(&old).unwrap();
    before.execute_batch(include_str!("../schema.sql")).unwrap();
    before.execute_batch(include_str!("../schema_2.sql")).unwrap();
    assert_eq!(names(&before), now, "nothing but the new tables is new");
    before.execute("ATTACH ?1 AS new", [new.to_str().unwrap()]).unwrap();
    before.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    for table in names(&before) {
        before.execute_batch(&format!("INSERT OR REPLACE INTO main.{table} SELECT * FROM new.{table}")).unwrap();
    }
    before.execute_batch("DETACH new; PRAGMA user_version = 2; PRAGMA application_id = 2003266918").unwrap();
    drop(before);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", new.display()));
    }
    std::fs::rename(&old, &new).unwrap();
    set_permissions(&new, Permissions::from_mode(0o600)).unwrap();

    let store = open_at(&folder.path().join("state"));
    assert_eq!((store.log_head().unwrap(), store.record(&place()).unwrap()), (head, record));
    assert_eq!(store.unseal(at(11), &place(), 1).unwrap(), key(1), "the session goes on");
    assert!(store.grants().unwrap().is_empty() && store.all_code_guesses().unwrap().is_empty());
    let until = WantedTier { place: place(), tier: "prod".parse().unwrap(), until: at(60) };
    store.grant_by_override(at(12), Actor::ROOT, &until, "a trial").unwrap();
    assert_intact(&store);
}

#[test]
fn it_is_the_same_store_after_a_restart() {
    let (folder, store) = with_applied(1);
    let (instance, head) = (store.instance_id().unwrap(), store.log_head().unwrap());
    let record = store.record(&place()).unwrap();
    drop(store);
    let store = open_at(&folder.path().join("state"));
    assert_eq!(store.instance_id().unwrap(), instance);
    assert_eq!(store.log_head().unwrap(), head);
    assert_eq!(store.record(&place()).unwrap(), record);
    assert_eq!(store.unseal(at(3), &place(), 1).unwrap(), key(1));
}

#[test]
fn time_never_runs_below_what_was_recorded() {
    let (folder, store) = furnished();
    store.note(at(1000), Note::new(Event::Noted)).unwrap();
    assert_eq!(store.now(at(400)), at(1000));
    assert_eq!(store.now(at(1001)), at(1001));
    store.note(at(400), Note::new(Event::Noted)).unwrap();
    assert_eq!(last_line(&store).time, at(1000));
    drop(store);
    let store = open_at(&folder.path().join("state"));
    assert_eq!(store.now(at(0)), at(1000));
}

#[test]
fn a_clock_set_back_prolongs_no_deadline() {
    let (_folder, store) = with_applied(1);
    let login = passed(&store, at(10));
    let outcome = store.release(at(10), &login, device().as_str(), &[wanted(1, at(40))]).unwrap();
    assert_eq!(outcome.granted.len(), 1);
    store.note(at(40), Note::new(Event::Noted)).unwrap();
    assert!(store.unseal(at(-3600), &place(), 1).is_err());
    assert_eq!(store.expire(at(-3600)).unwrap(), [Ended { place: place(), generation: 1 }]);
}
