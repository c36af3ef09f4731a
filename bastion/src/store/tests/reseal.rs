//! Changing the sealing key, whole or not at all.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::*;

/// A store with secrets in it, and the file of its key.
fn with_key_file() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (state, key) = (folder.path().join("state"), folder.path().join("sealing.key"));
    std::fs::write(&key, [3; 32]).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let store = Store::open_with(&state, &key).unwrap();
    furnish(&store);
    store.deposit(at(1), &host(), &[deposit(1)]).unwrap();
    store.applied(at(2), &host(), &[which(1)]).unwrap();
    (folder, state, key)
}

/// What is sealed opens with the key that the file holds, and there is but one file.
fn assert_opens(state: &Path, key: &Path) {
    let store = Store::open_with(state, key).unwrap();
    assert_eq!(store.unseal(at(3), &place(), 1).unwrap(), super::key(1));
    let secret = store.credentials(&user()).unwrap().unwrap().code.unwrap().0;
    assert_eq!(secret.expose_bytes(), [9; 20]);
    assert_eq!(std::fs::read_dir(key.parent().unwrap()).unwrap().count(), 2, "the state folder and one key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    assert_intact(&store);
}

#[test]
fn everything_is_sealed_anew() {
    let (_folder, state, key) = with_key_file();
    let store = Store::open_with(&state, &key).unwrap();
    let before = store.sealing_key_name();
    assert_eq!(store.change_sealing_key(at(3), Actor::ROOT, &key).unwrap(), 3);
    assert_eq!(store.unseal(at(4), &place(), 1).unwrap(), super::key(1), "the open store goes on with it");
    assert_ne!(store.sealing_key_name(), before);
    let line = last_line(&store);
    assert_eq!(line.event, "resealed");
    assert!(line.reason.unwrap().contains(&before));
    drop(store);
    assert_ne!(std::fs::read(&key).unwrap(), [3; 32]);
    assert!(Store::open(&state, SealingKey::from_bytes([3; 32])).is_err(), "the old key opens nothing");
    assert_opens(&state, &key);
}

#[test]
fn a_backup_across_a_change_of_the_key_is_none() {
    let (_folder, state, key) = with_key_file();
    let store = Store::open_with(&state, &key).unwrap();
    let mut copying = store.begin_backup(at(3)).unwrap();
    store.change_sealing_key(at(4), Actor::ROOT, &key).unwrap();
    let refused = loop {
        match copying.finish(&store) {
            Ok(None) => std::thread::yield_now(),
            Ok(Some(backup)) => panic!("{:?}", backup.head),
            Err(refused) => break refused.to_string(),
        }
    };
    assert_eq!(refused, "the sealing key was changed meanwhile");
}

#[test]
fn no_sealed_column_is_forgotten() {
    let (_folder, store) = empty();
    let sql = "SELECT m.name || '.' || c.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS c
               WHERE m.type = 'table' AND c.name LIKE '%seal%' ORDER BY 1";
    let mut statement = store.connection.prepare(sql).unwrap();
    let found: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(found, ["generations.sealed", "meta.sealing_check", "people.code_sealed"], "see Writing::reseal");
}

/// Tells a child of these tests where the store is.
const FOLDER: &str = "WGMFA_STORE_TEST_RESEAL";

#[test]
fn child_changes_the_key() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let key = folder.join("sealing.key");
    let store = Store::open_with(&folder.join("state"), &key).unwrap();
    store.change_sealing_key(at(3), Actor::ROOT, &key).unwrap();
}

#[test]
fn a_crash_leaves_a_store_that_one_of_the_files_opens() {
    for point in ["sealing-key-written", "sealing-key-resealing", "sealing-key-resealed"] {
        let (folder, state, key) = with_key_file();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::reseal::child_changes_the_key"])
            .env(FOLDER, folder.path())
            .env("WGMFA_CRASH_AT", point)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success(), "{point}: it was killed");
        assert!(key.with_file_name("sealing.key.new").exists(), "{point}");
        assert_opens(&state, &key);
    }
}

#[test]
fn where_no_file_can_be_written_the_key_stays() {
    let (folder, state, key) = with_key_file();
    let store = Store::open_with(&state, &key).unwrap();
    let failure = store.change_sealing_key(at(3), Actor::ROOT, &folder.path().join("missing/sealing.key")).unwrap_err();
    assert!(failure.hint.unwrap().contains("systemd"), "{}", failure.error);
    drop(store);
    assert_opens(&state, &key);
}
