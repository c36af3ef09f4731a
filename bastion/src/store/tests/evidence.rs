//! What shows that nothing in the audit log was changed or cut, with the help of those who saw it: exports and hosts.

use super::*;

fn lines(store: &Store, count: i64) {
    for n in 0..count {
        store.note(at(100 + n), Note::new(Event::Noted).reason(format!("line {n}"))).unwrap();
    }
}

/// The export of everything before a time, as it is printed.
fn exported(store: &Store, before: Timestamp) -> (String, Head) {
    let until = store.last_before(before).unwrap().unwrap();
    let lines = store.exported(&store.log_beginning().unwrap(), &until, 1000).unwrap();
    (lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect(), until)
}

fn verified(export: &str) -> Result<Verified, String> {
    verify_export(export.as_bytes())
}

#[test]
fn exported_lines_go_and_the_chain_stays() {
    let (_folder, store) = furnished();
    lines(&store, 10);
    let (export, until) = exported(&store, at(105));
    assert_eq!(export.lines().count() as u64, until.seq);
    assert_eq!(store.prune_log(at(200), Actor::ROOT, &until).unwrap(), until.seq);
    assert_eq!(store.log_beginning().unwrap(), until);
    assert_intact(&store);
    assert_eq!(store.log(&Filter::default()).unwrap()[0].seq, until.seq + 1);
    let line = last_line(&store);
    assert_eq!(line.event, "log-pruned");
    let named = format!("{0} exported lines were removed, up to line {0} ({1})", until.seq, until.hash);
    assert_eq!(line.reason.unwrap(), named);

    // the next export goes on where this one ended, and takes the line about it along
    lines(&store, 3);
    let (next, end) = exported(&store, at(9999));
    assert_eq!(
        verified(&next).unwrap(),
        Verified::Intact { after: until.clone(), head: end.clone() },
        "the line before an export is known by its hash"
    );
    assert_eq!(
        verified(&export).unwrap(),
        Verified::Intact { after: Head { seq: 0, hash: store.instance_id().unwrap() }, head: until }
    );
    assert_eq!(verified(&(export + &next)).map(|verified| matches!(verified, Verified::Intact { .. })), Ok(true));
    store.prune_log(at(300), Actor::ROOT, &end).unwrap();
    assert_intact(&store);
}

#[test]
fn an_export_shows_what_was_done_to_it() {
    let (_folder, store) = furnished();
    lines(&store, 5);
    let (export, _) = exported(&store, at(9999));
    let rows: Vec<&str> = export.lines().collect();
    let broken = |rows: &[&str]| match verified(&rows.join("\n")).unwrap() {
        Verified::Broken { seq, .. } => seq,
        Verified::Intact { .. } => panic!("it looks intact"),
    };
    assert_eq!(broken(&[&rows[..2], &rows[3..]].concat()), 3, "a missing line");
    assert_eq!(broken(&[rows[0], rows[2], rows[1]]), 2, "lines that changed places");
    let changed = export.replace("line 2", "line 7");
    assert_eq!(broken(&changed.lines().collect::<Vec<_>>()), 7, "a changed line");
    assert!(verified("no export").is_err());
}

#[test]
fn an_export_of_nothing_is_whole() {
    assert!(matches!(verified(""), Ok(Verified::Intact { after, head }) if after == head));
}

#[test]
fn nothing_else_can_be_removed() {
    let (_folder, store) = furnished();
    lines(&store, 5);
    let head = |seq, hash: &str| Head { seq, hash: hash.to_owned() };
    for wrong in [head(3, "x"), head(99, "x"), head(0, &store.instance_id().unwrap())] {
        assert!(store.prune_log(at(200), Actor::ROOT, &wrong).is_err(), "{wrong:?}");
    }
    for sql in [
        "DELETE FROM log WHERE seq = 1",
        "UPDATE meta SET removed_seq = 4",
        "UPDATE meta SET removed_seq = 4, removed_hash = 'x'",
        "UPDATE meta SET removed_seq = -1",
    ] {
        assert!(store.connection.execute(sql, []).is_err(), "{sql}");
    }
    assert_intact(&store);
    // also by somebody who knows how: no line says that these were exported
    let sql = "UPDATE meta SET removed_seq = 4, removed_hash = (SELECT hash FROM log WHERE seq = 4)";
    store.connection.execute(sql, []).unwrap();
    store.connection.execute("DELETE FROM log WHERE seq <= 4", []).unwrap();
    let expected = "the lines up to this one are gone, and no line says that they were exported".to_owned();
    assert_eq!(store.verify_log().unwrap(), Verified::Broken { seq: 4, reason: expected });
}

#[test]
fn a_verification_in_slices_lets_others_write_and_remove() {
    let (_folder, store) = furnished();
    lines(&store, 2500);
    let mut verification = store.verification().unwrap();
    assert_eq!(verification.go_on(&store).unwrap(), None);
    lines(&store, 10);
    let (_, until) = exported(&store, at(1200));
    assert_eq!(verification.go_on(&store).unwrap(), None);
    store.prune_log(at(9000), Actor::ROOT, &until).unwrap();
    let found = loop {
        if let Some(found) = verification.go_on(&store).unwrap() {
            break found;
        }
    };
    assert!(matches!(found, Verified::Intact { .. }), "{found:?}");
}

#[test]
fn a_host_bears_witness_to_a_log_whose_end_was_cut_off() {
    let (_folder, store) = furnished();
    lines(&store, 5);
    let seen = store.log_head().unwrap();
    store.heard_head(at(300), &host(), &seen).unwrap();
    assert_eq!(store.lost_heads().unwrap(), []);
    let cut = "DROP TRIGGER log_lines_stay; DELETE FROM log WHERE seq > 5;
               UPDATE meta SET log_seq = 5, log_hash = (SELECT hash FROM log WHERE seq = 5)";
    store.connection.execute_batch(cut).unwrap();
    assert_intact(&store);

    store.heard_head(at(301), &host(), &seen).unwrap();
    let lost = store.lost_heads().unwrap();
    let named = format!("host app-gw saw line {} (hash {}), this log ended at 5", seen.seq, seen.hash);
    assert_eq!(lost.iter().map(ToString::to_string).collect::<Vec<_>>(), std::slice::from_ref(&named));
    let line = last_line(&store);
    assert_eq!(line.event, "log-lost");
    assert_eq!(line.reason.unwrap(), format!("{named}: at least {} lines after 5 are missing", seen.seq - 5));
    // said again, also when another line has taken its place, it is no news
    lines(&store, 20);
    let head = store.log_head().unwrap();
    store.heard_head(at(400), &host(), &seen).unwrap();
    assert_eq!(store.log_head().unwrap(), head);

    assert_eq!(store.accept_lost_heads(at(401), Actor::ROOT, "I cut it").unwrap(), Change::Made);
    assert_eq!(store.accept_lost_heads(at(401), Actor::ROOT, "I cut it").unwrap(), Change::Unchanged);
    assert_eq!(store.lost_heads().unwrap(), []);
    assert_eq!(last_line(&store).event, "log-loss-accepted");
}

#[test]
fn what_is_no_line_of_a_log_is_not_kept() {
    let (_folder, store) = furnished();
    for hash in ["", "x", "\u{1b}[2J", &"g".repeat(64), &"0".repeat(65)] {
        store.heard_head(at(1), &host(), &Head { seq: 99, hash: hash.to_owned() }).unwrap();
    }
    assert_eq!(store.lost_heads().unwrap(), []);
}

#[test]
fn a_host_cannot_fill_the_log() {
    let (_folder, store) = furnished();
    let before = store.log_head().unwrap().seq;
    for n in 0..5000 {
        store
            .note_of_host(at(10), &host(), Note::new(Event::ChangedOutside).host(host()).reason(format!("{n}")))
            .unwrap();
    }
    let written = store.log_head().unwrap().seq - before;
    assert_eq!(written, 2001);
    assert_eq!(last_line(&store).event, "host-lines-omitted");
    store.note_of_host(at(4000), &host(), Note::new(Event::Locked).host(host())).unwrap();
    let lines = store.log(&Filter { limit: Some(2), ..Filter::default() }).unwrap();
    assert_eq!(lines[0].reason.as_deref(), Some("3000 lines that this host caused in one hour were not listed"));
    assert_eq!(lines[1].event, "locked");
}

#[test]
fn a_host_cannot_deposit_without_end() {
    let (_folder, store) = furnished();
    for n in 1..=601 {
        assert_eq!(store.deposit(at(10), &host(), &[deposit(n)]).unwrap(), [which(n)]);
    }
    assert_eq!(store.deposit(at(10), &host(), &[deposit(602)]).unwrap(), []);
    assert_eq!(last_line(&store).reason.as_deref(), Some("too many new generations in one hour"));
    assert_eq!(store.deposit(at(4000), &host(), &[deposit(602)]).unwrap(), [which(602)]);
}

#[test]
fn a_host_cannot_claim_interfaces_without_end() {
    let (_folder, store) = furnished();
    let names: Vec<_> = (0..400).map(|n| format!("wg{n}")).collect();
    for part in names.chunks(100) {
        let key = |name: &String| name[2..].parse::<u16>().unwrap().to_le_bytes();
        let interfaces: Vec<_> = part
            .iter()
            .map(|name| {
                let [low, high] = key(name);
                let mut own = interface(name, 0, &[]);
                own.public_key = PublicKey::from_bytes([100, low, high].repeat(11)[..32].try_into().unwrap());
                own
            })
            .collect();
        let _ = store.report(at(1), &host(), &report(&interfaces)).unwrap();
    }
    let count: u64 = store.connection.query_row("SELECT count(*) FROM interfaces", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 256);
}

#[test]
fn a_host_cannot_have_peers_of_nobody_without_end() {
    let (_folder, store) = furnished();
    let stranger = |n: u16| PublicKey::from_bytes([[200, 0], n.to_le_bytes()].concat().repeat(8).try_into().unwrap());
    let mut reported = interface("devices", GATEWAY, &[LAPTOP]);
    let peers = (0..1001).map(|n| Peer { public_key: stranger(n), ..reported.peers[0].clone() }).collect::<Vec<_>>();
    reported.peers.extend(peers);
    let _ = store.report(at(1), &host(), &report(&[reported])).unwrap();
    let deposits: Vec<_> = (0..1001u16)
        .map(|n| {
            let mut one = deposit(1);
            one.which.peer.public_key = stranger(n);
            one
        })
        .collect();
    assert_eq!(store.deposit(at(2), &host(), &deposits).unwrap().len(), 1000);
    assert_eq!(store.deposit(at(2), &host(), &[deposit(1)]).unwrap(), [which(1)], "a device still has its place");
}
