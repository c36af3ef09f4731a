//! Old lines of the audit log are exported, verified without the bastion, and removed from it.

use serde_json::Value;

use super::site::Site;

#[test]
fn what_was_exported_can_go_and_the_rest_is_still_bound_to_it() {
    let site = Site::new();
    let bastion = &site.bastion;
    let export = bastion.admin(&["log", "export", "--before", "2099-01-01"]).ok();
    let lines: Vec<Value> = export.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["seq"], 1);
    assert!(lines.windows(2).all(|pair| pair[1]["previous"] == pair[0]["hash"]));
    let last = lines.last().expect("lines");
    let (seq, hash) = (last["seq"].to_string(), last["hash"].as_str().expect("a hash"));
    assert!(export.stderr.contains(&format!("log prune {seq} {hash}")), "{export:#?}");

    let file = bastion.machine.write("audit.jsonl", &export.stdout);
    let file = file.to_string_lossy().into_owned();
    bastion.admin(&["log", "verify", "--file", &file]).ok();
    let changed = export.stdout.replacen("user-added", "user-Added", 1);
    let broken = bastion.admin_with(&["log", "verify", "--file", "-"], changed.as_bytes()).expect(1);
    assert!(broken.stderr.contains("broken from line"), "{broken:#?}");

    bastion.admin(&["log", "prune", &seq, &"0".repeat(64)]).expect(1);
    bastion.admin(&["log", "prune", &seq, hash]).ok();
    assert_eq!(bastion.admin(&["log", "prune", &seq, hash]).ok().stdout, "unchanged\n");
    let verified = bastion.admin(&["log", "verify", "--json"]).ok().json();
    assert_eq!(verified["after"], serde_json::json!({ "seq": last["seq"], "hash": hash }));
    assert_eq!(bastion.log("user-added").len(), 0);
    assert_eq!(bastion.log("log-pruned").len(), 1);
}

#[test]
fn lines_are_found_by_all_that_they_are_about_at_once() {
    let site = Site::new();
    let bastion = &site.bastion;
    bastion.admin(&["user", "disable", "justin"]).ok();
    let count = |words: &[&str]| {
        let answer = bastion.admin(&[&["--json", "log"], words].concat()).ok().json();
        answer["lines"].as_array().expect("lines").len()
    };
    assert_eq!(count(&["--user", "justin", "--event", "user-disabled"]), 1);
    assert_eq!(count(&["--user", "justin", "--event", "user-disabled", "--since", "1h", "--until", "2099-01-01"]), 1);
    assert_eq!(count(&["--user", "justin", "--event", "user-disabled", "--until", "1h"]), 0);
    assert_eq!(count(&["--user", "nobody", "--event", "user-disabled"]), 0);
    assert_eq!(count(&["--host", "app-gw"]), 0);
    bastion.admin(&["log", "--event", "no-such"]).expect(2);
}
