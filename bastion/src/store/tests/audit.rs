//! The audit log holds what was written, and shows when somebody touched it.

use super::*;

const OTHER_SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBVrMhJp+u6ut7EBRfoRs2pEW0u9cGbDL6MxQ+yMBDqR";

/// A store with lines 1 to 6, whose guards against changes are off.
fn unguarded() -> (TempDir, Store) {
    let (folder, store) = empty();
    for n in 2..=6 {
        store.note(at(n), Note::new(Event::Noted).user("justin").reason(format!("line {n}"))).unwrap();
    }
    let guards = "DROP TRIGGER log_lines_stay; DROP TRIGGER log_lines_are_not_changed;";
    store.connection.execute_batch(guards).unwrap();
    assert_intact(&store);
    (folder, store)
}

fn broken_at(store: &Store) -> (u64, String) {
    match store.verify_log().unwrap() {
        Verified::Broken { seq, reason } => (seq, reason),
        Verified::Intact { head, .. } => panic!("it looks intact up to {head:?}"),
    }
}

#[test]
fn lines_cannot_be_changed_or_deleted() {
    let (_folder, store) = furnished();
    for sql in ["UPDATE log SET reason = 'x'", "DELETE FROM log", "UPDATE log SET seq = seq + 1 WHERE seq = 1"] {
        let error = store.connection.execute(sql, []).unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
    assert_intact(&store);
}

#[test]
fn a_changed_line_shows() {
    for column in ["time = time + 1", "event = 'applied'", "user = 'russ'", "reason = NULL", "hash = 'x'"] {
        let (_folder, store) = unguarded();
        store.connection.execute(&format!("UPDATE log SET {column} WHERE seq = 3"), []).unwrap();
        let expected = (3, "the line was changed, or stands where another stood".to_owned());
        assert_eq!(broken_at(&store), expected, "{column}");
    }
}

#[test]
fn a_missing_line_shows() {
    for missing in [1, 4] {
        let (_folder, store) = unguarded();
        store.connection.execute("DELETE FROM log WHERE seq = ?1", [missing]).unwrap();
        assert_eq!(broken_at(&store), (missing, "the line is missing".to_owned()));
    }
    let (_folder, store) = unguarded();
    store
        .connection
        .execute_batch("DELETE FROM log WHERE seq = 4; UPDATE log SET seq = seq - 1 WHERE seq > 4;")
        .unwrap();
    assert_eq!(broken_at(&store).0, 4, "also when the others close ranks");
}

#[test]
fn lines_that_changed_places_show() {
    let (_folder, store) = unguarded();
    let swap = "UPDATE log SET seq = 99 WHERE seq = 3; UPDATE log SET seq = 3 WHERE seq = 4;
                UPDATE log SET seq = 4 WHERE seq = 99;";
    store.connection.execute_batch(swap).unwrap();
    assert_eq!(broken_at(&store).0, 3);
}

#[test]
fn a_tail_that_was_cut_off_or_added_shows() {
    let (_folder, store) = unguarded();
    store.connection.execute("DELETE FROM log WHERE seq > 4", []).unwrap();
    assert_eq!(broken_at(&store), (5, "the log was cut off before this line".to_owned()));

    let (_folder, store) = unguarded();
    store.connection.execute("INSERT INTO log (seq, time, event, hash) VALUES (7, 0, 'noted', 'x')", []).unwrap();
    assert_eq!(broken_at(&store).0, 7);
}

#[test]
fn every_line_of_every_act_is_bound_to_the_one_before() {
    let (_folder, store) = with_applied(1);
    let login = passed(&store, at(5));
    let _ = store.release(at(6), &login, device().as_str(), &[wanted(1, at(60))]).unwrap();
    store.expire(at(60)).unwrap();
    let _ = store.remove_person(at(61), Actor::ROOT, &user()).unwrap();
    assert_eq!(
        events(&store),
        [
            "user-added",
            "device-added",
            "host-added",
            "deposited",
            "applied",
            "code-accepted",
            "login-accepted",
            "released",
            "expired",
            "device-removed",
            "user-removed",
        ]
    );
    assert_intact(&store);
}

#[test]
fn a_line_can_be_checked_with_common_tools() {
    use sha2::{Digest, Sha256};
    let (_folder, store) = empty();
    store.note(at(1), Note::new(Event::Noted).user("justin").reason("é \"x\"")).unwrap();
    let lines = store.log(&Filter::default()).unwrap();
    let text = format!(
        "{}\n{}",
        lines[0].hash,
        "{\"seq\":2,\"time\":\"2096-10-02T07:06:41Z\",\"event\":\"noted\",\"user\":\"justin\",\"actor\":null,\"from\":null,\
         \"host\":null,\"device\":null,\"connection\":null,\"generation\":null,\"reason\":\"é \\\"x\\\"\"}"
    );
    let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(lines[1].hash, hash);
}

#[test]
fn lines_are_found_by_what_they_are_about() {
    let (_folder, store) = with_applied(1);
    store
        .note(at(50), Note::new(Event::StandDown).host("db-gw").actor(Actor { name: Some("ann"), from: None }))
        .unwrap();
    let count = |filter: Filter| store.log(&filter).unwrap().len();
    assert_eq!(count(Filter { event: Some(Event::Applied), ..Filter::default() }), 1);
    assert_eq!(count(Filter { host: Some("db-gw".to_owned()), ..Filter::default() }), 1);
    let gateways = Place { server_side: "app-gw/infra".parse().unwrap(), public_key: public(40) };
    store.add_host(at(51), Actor::ROOT, &"b-gw".parse().unwrap(), OTHER_SSH_KEY, None).unwrap();
    store.report(at(51), &"b-gw".parse().unwrap(), &report(&[interface("infra", 40, &[])])).unwrap();
    let before = count(Filter { host: Some("b-gw".to_owned()), ..Filter::default() });
    store.note(at(51), Note::new(Event::Noted).place(&gateways)).unwrap();
    let line = last_line(&store);
    assert_eq!((line.host.as_deref(), line.connection.as_deref()), (Some("app-gw"), Some("app-gw/infra:b-gw/infra")));
    assert_eq!(count(Filter { host: Some("b-gw".to_owned()), ..Filter::default() }), before + 1);
    assert_eq!(count(Filter { host: Some("gw".to_owned()), ..Filter::default() }), 0);
    assert_eq!(count(Filter { user: Some("ann".to_owned()), ..Filter::default() }), 1);
    assert_eq!(count(Filter { user: Some("justin".to_owned()), ..Filter::default() }), 2);
    assert_eq!(count(Filter { connection: Some("gw/devices:justins".to_owned()), ..Filter::default() }), 2);
    assert_eq!(count(Filter { since: Some(at(2)), until: Some(at(50)), ..Filter::default() }), 1);
    let numbers = |filter: Filter| store.log(&filter).unwrap().into_iter().map(|line| line.seq).collect::<Vec<_>>();
    let head = store.log_head().unwrap().seq;
    assert_eq!(numbers(Filter { limit: Some(2), ..Filter::default() }), [head - 1, head]);
    assert_eq!(numbers(Filter { after: Some(2), limit: Some(2), ..Filter::default() }), [3, 4]);
    for event in Event::ALL {
        assert_eq!(event.as_str().parse(), Ok(*event));
    }
}

#[test]
fn lines_of_a_long_log_are_found_by_an_index() {
    let (_folder, store) = with_applied(1);
    let plan = |filter: &Filter| {
        let sql = format!("EXPLAIN QUERY PLAN {}", super::super::audit::query(filter));
        let mut statement = store.connection.prepare(&sql).unwrap();
        let steps = statement.raw_query().mapped(|row| row.get::<_, String>("detail")).collect::<Result<Vec<_>, _>>();
        steps.unwrap().join("; ")
    };
    let (event, since) = (Some(Event::LoginRefused), Some(at(1)));
    for (filter, way) in [
        (Filter { event, limit: Some(1), ..Filter::default() }, "USING INDEX log_by_event (event=? AND seq>?)"),
        (Filter { event, since, user: Some("justin".to_owned()), ..Filter::default() }, "USING INDEX log_by_event"),
        (Filter { since, ..Filter::default() }, "USING INDEX log_by_time (time>?)"),
        (Filter { until: since, ..Filter::default() }, "USING INDEX log_by_time (time<?)"),
        (Filter { since, after: Some(9), ..Filter::default() }, "USING INTEGER PRIMARY KEY (rowid>?)"),
    ] {
        assert!(plan(&filter).contains(way), "{filter:?}: {}", plan(&filter));
    }
}

#[test]
fn what_comes_from_the_other_side_is_bounded_and_steers_no_terminal() {
    let (_folder, store) = empty();
    let text = format!("a\nb\u{1b}[2J{}", "x".repeat(5000));
    store.note(at(1), Note::new(Event::Noted).from(Some(&text)).reason(text.clone())).unwrap();
    let line = last_line(&store);
    let reason = line.reason.unwrap();
    assert!(reason.starts_with("a b?[2Jxxx"), "{reason}");
    assert_eq!(reason.len(), 1000);
    assert_eq!(line.from, Some(reason));
}
