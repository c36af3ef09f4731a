//! On a full disk nothing is recorded, and nothing is accepted.

use std::fs::File;
use std::io::Write;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use wgmfa_core::code::Step;

use super::*;

fn fails_whole(store: &Store, make_room: impl FnOnce()) {
    let head = store.log_head().unwrap();
    let record = store.record(&place()).unwrap();
    let (code, foreign) = (login(&user()), login(&user()));
    let step = Step::from_number(9_000_000_000);
    assert_eq!(store.accept_code(at(10), &code, step), Err(StoreError::Full));
    assert_eq!(store.use_recovery_code(at(10), &code, &[1; 32]), Err(StoreError::Full));
    assert_eq!(store.record_login(at(10), &foreign, CodeRule::Foreign), Err(StoreError::Full));
    assert_eq!(store.deposit(at(10), &host(), &[deposit(2)]), Err(StoreError::Full));
    assert_eq!(store.log_head().unwrap(), head);
    assert_eq!(store.record(&place()).unwrap(), record);
    assert_eq!(store.person(&user()).unwrap().unwrap().recovery_left, 2);
    assert_intact(store);

    make_room();
    assert_eq!(store.accept_code(at(11), &code, step).unwrap(), Acceptance::Accept, "it was not used up");
    assert_eq!(store.deposit(at(12), &host(), &[deposit(2)]).unwrap(), [which(2)]);
    assert_intact(store);
}

#[test]
fn a_store_that_may_not_grow_accepts_nothing() {
    let (_folder, store) = with_applied(1);
    let limit = |pages: i64| store.connection.pragma_update(None, "max_page_count", pages).unwrap();
    // less than it has means: not one page more
    limit(1);
    for reason in ["x".repeat(900), String::new()] {
        while store.note(at(3), Note::new(Event::Noted).reason(&reason)).is_ok() {}
    }
    // now the last page of the log has no room for the shortest line
    fails_whole(&store, || limit(1_000_000));
}

#[test]
fn a_full_file_system_accepts_nothing() {
    // a mount namespace of this thread alone: the file system goes when the thread ends, however it ends
    let outcome = std::thread::spawn(|| {
        let folder = tempfile::tempdir().unwrap();
        let nothing = None::<&str>;
        let mounted = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing))
            .and_then(|()| {
                mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=2m,mode=700"))
            });
        if mounted.is_err() {
            return; // not root: the test above stands for this one
        }
        let store = open_at(&folder.path().join("state"));
        furnish(&store);
        store.deposit(at(1), &host(), &[deposit(1)]).unwrap();
        store.applied(at(2), &host(), &[which(1)]).unwrap();
        // the log of SQLite begins anew, so that it has to grow
        store.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let ballast = folder.path().join("ballast");
        let mut file = File::create(&ballast).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
        drop(file);
        fails_whole(&store, || std::fs::remove_file(&ballast).unwrap());
    });
    outcome.join().unwrap();
}
