//! A store of the first version of the program, with all that it could hold, is brought forward and loses nothing.

use super::*;

/// What stands in a store, row by row, as far as its version 1 had a place for it.
const TABLES: [&str; 13] = [
    "meta",
    "people",
    "recovery_codes",
    "guesses",
    "logins",
    "hosts",
    "interfaces",
    "pending_keys",
    "handshakes",
    "devices",
    "places",
    "generations",
    "log",
];

/// A store of version 1 in a folder of its own, with what another one holds.
fn first_version_of(store: &Store, folder: &Path) -> PathBuf {
    let state = folder.join("first");
    drop(open_at(&state)); // the folder and the file, with the rights that they must have
    let file = state.join(FILE_NAME);
    std::fs::remove_file(&file).unwrap();
    std::fs::File::create(&file).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let old = Connection::open(&file).unwrap();
    old.execute_batch(include_str!("../schema.sql")).unwrap();
    old.pragma_update(None, "application_id", schema::APPLICATION_ID).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.execute("ATTACH ?1 AS new", [store.path.to_str().unwrap()]).unwrap();
    for table in TABLES {
        let columns = columns(&old, table).join(", ");
        old.execute_batch(&format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")).unwrap();
    }
    state
}

fn columns(connection: &Connection, table: &str) -> Vec<String> {
    let sql = format!("SELECT name FROM pragma_table_info('{table}', 'main')");
    let mut statement = connection.prepare(&sql).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.collect::<Result<_, _>>().unwrap()
}

/// How many rows each table has.
fn counts(connection: &Connection) -> Vec<(&'static str, u64)> {
    let count = |table| connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
    TABLES.iter().map(|table| (*table, count(table))).collect()
}

/// A person with codes and failed logins, a session that runs, a handshake, an interface whose key has changed, one that
/// is gone, and a generation that waits.
fn lived_in() -> (TempDir, Store) {
    let (folder, store) = with_applied(1);
    let more = [interface("devices", GATEWAY, &[LAPTOP, 20]), interface("wg1", 21, &[22]), interface("wg2", 23, &[])];
    let ages = [age(LAPTOP, 3)];
    let said = |interfaces| Report { interfaces, handshake_ages: &ages, next_in_seconds: Some(60), stood_down: false };
    store.report(at(3), &host(), &said(&more[..])).unwrap();
    let changed = [interface("devices", GATEWAY, &[LAPTOP, 20]), interface("wg1", 31, &[22])];
    store.report(at(4), &host(), &said(&changed[..])).unwrap();
    let login = passed(&store, at(10));
    let released = store.release(at(10), &login, device().as_str(), &[wanted(1, at(3610))]).unwrap();
    assert_eq!(released.granted.len(), 1);
    let other = PeerGeneration { peer: peer(20), generation: 4 };
    store.deposit(at(11), &host(), &[Deposit { which: other, preshared_key: key(4) }]).unwrap();
    (folder, store)
}

#[test]
fn a_store_of_version_1_is_brought_forward_with_all_that_it_holds() {
    let (folder, store) = lived_in();
    let state = first_version_of(&store, folder.path());
    let before = counts(&store.connection);
    assert!(before.iter().all(|(table, rows)| *rows > 0 || matches!(*table, "guesses")), "{before:?}");

    let brought = open_at(&state);
    assert_eq!(counts(&brought.connection), before);
    let version: usize = brought.connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, schema::VERSION);
    assert_intact(&brought);
    assert_eq!(brought.log_head().unwrap(), store.log_head().unwrap());
    assert_eq!(brought.records().unwrap(), store.records().unwrap());
    assert_eq!(brought.people().unwrap(), store.people().unwrap());
    assert_eq!(brought.hosts().unwrap(), store.hosts().unwrap());
    assert_eq!(brought.devices().unwrap(), store.devices().unwrap());
    assert_eq!(brought.unseal(at(12), &place(), 1).unwrap(), key(1));
    let (mut was, mut is) = (store.inventory().unwrap(), brought.inventory().unwrap());
    // version 1 did not know with which key a handshake was made
    for inventory in [&mut was, &mut is] {
        let peers = inventory.hosts.iter_mut().flat_map(|host| &mut host.interfaces).flat_map(|one| &mut one.peers);
        peers.for_each(|peer| peer.handshake_with_this_key = false);
    }
    assert_eq!(is, was);
    // what it found by reading all peers before, it finds by either end now
    assert_eq!(brought.inventory_of(&host()).unwrap().hosts, store.inventory_of(&host()).unwrap().hosts);
    assert_eq!(brought.records_for(&user()).unwrap(), store.records_for(&user()).unwrap());
}

#[test]
fn what_was_brought_forward_goes_on() {
    let (folder, store) = lived_in();
    let state = first_version_of(&store, folder.path());
    drop(store);
    let store = open_at(&state);
    let again = passed(&store, at(200));
    let outcome = store.release(at(200), &again, device().as_str(), &[wanted(1, at(3800))]).unwrap();
    assert!(outcome.granted.iter().all(|granted| granted.renewal), "{outcome:?}");
    assert_eq!(store.deposit(at(201), &host(), &[deposit(2)]).unwrap(), [which(2)]);
    assert_eq!(store.applied(at(202), &host(), &[which(2)]).unwrap(), [which(2)]);
    store.report(at(203), &host(), &report(&[interface("devices", GATEWAY, &[LAPTOP])])).unwrap();
    assert_intact(&store);
    drop(store);
    let before = std::fs::read(state.join(FILE_NAME)).unwrap();
    drop(open_at(&state)); // nothing is left to be brought forward
    assert_eq!(std::fs::read(state.join(FILE_NAME)).unwrap(), before);
}
