//! Every `add`, `remove`, `enable` and `disable` may be repeated, and says whether anything changed.

use serde_json::json;
use wgmfa_tests::bastion::{Bastion, PASSWORD};
use wgmfa_tests::tunnel::Keys;

use super::{agent_key, bastion};

/// Done once it changes something, done again it does not.
#[track_caller]
fn once(bastion: &Bastion, words: &[&str], stdin: &str, said: &str) {
    let first = bastion.admin_with(words, stdin.as_bytes()).ok();
    assert_eq!((first.stdout.as_str(), first.stderr.as_str()), (said, ""), "{words:?}");
    again(bastion, words, stdin);
}

/// It was done already.
#[track_caller]
fn again(bastion: &Bastion, words: &[&str], stdin: &str) {
    let repeated = bastion.admin_with(words, stdin.as_bytes()).ok();
    assert_eq!((repeated.stdout.as_str(), repeated.stderr.as_str()), ("unchanged\n", ""), "{words:?}");
    let json = bastion.admin_with(&[&["--json"], words].concat(), stdin.as_bytes()).ok().json();
    assert_eq!(json, json!({"version": 1, "changed": false}), "{words:?}");
}

/// The same name with other values.
#[track_caller]
fn differs(bastion: &Bastion, words: &[&str], stdin: &str, error: &str, hint: &str) {
    let refused = bastion.admin_with(words, stdin.as_bytes()).expect(1);
    let lines = format!("wgmfa-bastion: error: {error}\nwgmfa-bastion: hint: {hint}\n");
    assert_eq!((refused.stdout.as_str(), refused.stderr), ("", lines), "{words:?}");
}

#[test]
fn people_devices_and_hosts_are_added_once_and_cut_off_once() {
    let bastion = bastion();
    let (key, other_key) = (Keys::generate().public, Keys::generate().public);
    let (agent, other_agent) = (agent_key(), agent_key());
    let password = format!("{PASSWORD}\n");

    again(&bastion, &["user", "remove", "nobody"], "");
    let add = ["user", "add", "justin", "--password-stdin"];
    let added = bastion.admin_with(&[&["--json"], &add[..]].concat(), password.as_bytes()).ok().json();
    assert_eq!(added["changed"], true);
    again(&bastion, &add, &password);
    let hint = "wgmfa-bastion user reset justin --password-stdin gives new secrets";
    differs(&bastion, &add, "another one\n", "user justin is there already, with another password", hint);
    let hint = "`user reset justin` for new secrets, or `user remove justin` first";
    let there = "user justin is there already, no administrator, with a password here";
    differs(&bastion, &[&add[..], &["--admin"]].concat(), &password, there, hint);
    differs(&bastion, &["user", "add", "justin", "--system-password"], "", there, hint);

    let add = ["device", "add", "laptop", "--owner", "justin", "--public-key", &key];
    once(&bastion, &add, "", "added laptop\n");
    let there = "device laptop is there already, with another key or owner";
    let other = ["device", "add", "laptop", "--owner", "justin", "--public-key", &other_key];
    differs(&bastion, &other, "", there, "`device remove laptop` first");

    let add = ["host", "add", "app-gw", "--key", "-"];
    once(&bastion, &add, &agent, "added app-gw\n");
    again(&bastion, &add, agent.trim_end().strip_suffix(" agent").expect("the comment"));
    let there = "host app-gw is there already, with another key or owner";
    let hint = "`host add app-gw --key FILE --replace` for another key of its agent; for another owner `host remove app-gw` \
                first";
    differs(&bastion, &add, &other_agent, there, hint);
    let owned = [&add[..], &["--owner", "justin"]].concat();
    differs(&bastion, &owned, &agent, there, hint);

    for (kind, name) in [("user", "justin"), ("device", "laptop"), ("host", "app-gw")] {
        once(&bastion, &[kind, "disable", name], "", &format!("disabled {name}\n"));
        once(&bastion, &[kind, "enable", name], "", &format!("enabled {name}\n"));
    }
    let ssh_key = agent_key();
    once_with_key(&bastion, &ssh_key);
    again(&bastion, &["user", "unlock", "justin"], "");
    again(&bastion, &["host", "accept", "app-gw"], "");
    for (kind, name) in [("device", "laptop"), ("host", "app-gw"), ("user", "justin")] {
        once(&bastion, &[kind, "remove", name], "", &format!("removed {name}\n"));
    }
    let changed = |event: &str| bastion.log(event).len();
    let changes = ["user-added", "device-added", "host-added", "user-disabled", "device-enabled", "host-removed"];
    assert_eq!(changes.map(changed), [1; 6], "what changed nothing stands in no log");
}

/// An SSH key of justin's comes and goes once.
#[track_caller]
fn once_with_key(bastion: &Bastion, key: &str) {
    let add = ["user", "key", "add", "justin", "--key", "-"];
    let added = bastion.admin_with(&[&["--json"], &add[..]].concat(), key.as_bytes()).ok().json();
    assert_eq!(added, json!({"version": 1, "changed": true}));
    again(bastion, &add, key);
    let listed = bastion.admin(&["--json", "user", "key", "list", "justin"]).ok().json();
    let fingerprint = listed["keys"][0]["fingerprint"].as_str().expect("a fingerprint");
    let said = format!("removed {fingerprint} from justin\n");
    once(bastion, &["user", "key", "remove", "justin", fingerprint], "", &said);
    assert_eq!(["user-key-added", "user-key-removed"].map(|event| bastion.log(event).len()), [1, 1]);
}

#[test]
fn what_changes_something_says_so_to_programs() {
    let bastion = bastion();
    let (key, agent) = (Keys::generate().public, agent_key());
    let changed = |words: &[&str], stdin: &str| {
        let said = bastion.admin_with(&[&["--json"], words].concat(), stdin.as_bytes()).ok().json();
        assert_eq!(said["changed"], true, "{words:?}: {said}");
    };
    changed(&["user", "add", "justin", "--password-stdin"], "correct horse\n");
    changed(&["device", "add", "laptop", "--owner", "justin", "--public-key", &key], "");
    changed(&["host", "add", "app-gw", "--key", "-"], &agent);
    for act in ["disable", "enable", "remove"] {
        for (kind, name) in [("device", "laptop"), ("host", "app-gw"), ("user", "justin")] {
            changed(&[kind, act, name], "");
        }
    }
}

#[test]
fn a_file_and_standard_input_say_the_same() {
    let bastion = bastion();
    let key = agent_key();
    let path = bastion.machine.write("agent.pub", &key);
    bastion.admin(&["host", "add", "app-gw", "--key", &path.display().to_string()]).ok();
    again(&bastion, &["host", "add", "app-gw", "--key", "-"], &key);
}

#[test]
fn a_reload_that_changes_nothing_says_so() {
    let bastion = bastion();
    for words in [&["reload"][..], &["reload", "--dry-run"]] {
        assert_eq!(bastion.admin(words).ok().stdout, "no connection changes\n");
        assert_eq!(bastion.admin(&[&["--json"], words].concat()).ok().json()["changed"], false);
    }
}
