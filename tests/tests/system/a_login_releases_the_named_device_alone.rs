//! Rule 6: one login releases everything of the device it names, and nothing of any other.

use serde_json::{Value, json};
use wgmfa_tests::program::says_an_hour;

use super::site::{Host, INTERFACE, Site};

fn line(host: &Host, key: &str) -> String {
    format!("{}\t{key}\n", host.keys.public)
}

#[test]
fn of_two_devices_only_the_named_one_is_released() {
    let mut site = Site::new();
    let laptop = site.justin.public_key().to_owned();
    let phone = site.device("justins-phone", "justin");
    let alice = site.person("alice");
    let hers = alice.public_key().to_owned();
    let host = site.host("app-gw");
    let keys = host.connect(false).wait_with_keys(&[&laptop, &phone, &hers], 1);

    let which = site.justin.ssh(&["wgmfa-sync"]).expect(2);
    assert_eq!(which.stdout, "");
    assert!(which.stderr.contains("justin has several devices: justins-laptop, justins-phone\n"), "{which:?}");
    assert_eq!(site.count("released"), 0);

    let named = site.justin.ssh(&["wgmfa-sync", "--device", "justins-phone"]).ok();
    assert_eq!(named.stdout, line(&host, &keys[1]));
    assert!(site.bastion.key("justins-laptop")["released_at"].is_null());
    let twice = site.justin.ssh(&["wgmfa-sync", "--device", "justins-phone", "phone", "app-gw/wg0:justins-phone"]).ok();
    assert_eq!((twice.stdout, twice.stderr.lines().count()), (line(&host, &keys[1]), 1), "{}", twice.stderr);
    let row = site.bastion.key("justins-phone");
    assert!(!row["released_at"].is_null());

    for others in ["alices-laptop", "app-gw", "no-such-device"] {
        let refused = site.justin.ssh(&["wgmfa-sync", "--device", others]).expect(1);
        assert_eq!(refused.stdout, "");
        assert!(refused.stderr.contains("you have no device of that name"), "{refused:?}");
        assert!(!refused.stderr.contains(&hers) && !refused.stderr.contains("alice"), "{refused:?}");
    }
    // by the name of a connection, and by a public key in the subsystem
    let refused = site.justin.ssh(&["wgmfa-sync", "--device", "justins-laptop", "alice"]).expect(1);
    assert_eq!(refused.stdout, "");
    for public_keys in [vec![&hers], vec![&host.keys.public]] {
        let mut sync = site.justin.subsystem("wgmfa-sync");
        sync.say_json(&json!({"version": 1, "public_keys": public_keys, "peers": []}));
        assert_eq!(sync.hear(), None);
        assert!(!sync.end().0.success());
    }
    let released = site.bastion.log("released");
    assert_eq!(released.len(), 1);
    assert_eq!(released[0]["connection"], row["connection"]);
    assert!(site.bastion.key("alices-laptop")["released_at"].is_null());
}

#[test]
fn all_connections_of_a_device_are_released_at_once_but_those_without_a_key() {
    let mut site = Site::new();
    let device = site.justin.public_key().to_owned();
    let [app, web, db, log] = ["app-gw", "web-gw", "db-gw", "log-gw"].map(|name| site.host(name));
    let [on_app, on_web] = [&app, &web].map(|host| host.connect(false).wait_with_keys(&[&device], 1).remove(0));
    db.connect(false).report(&[&device], Some(600)); // came once, and has no key yet
    log.connect(false).report(&[&device], Some(0)); // the same, and should be here again

    let ended = site.justin.ssh(&["wgmfa-sync"]).expect(6);
    let mut lines: Vec<_> = ended.stdout.lines().collect();
    lines.sort_unstable();
    let mut expected = [line(&app, &on_app), line(&web, &on_web)];
    expected.sort_unstable();
    assert_eq!(ended.stdout.len(), expected.concat().len());
    assert!(lines.iter().zip(&expected).all(|(line, expected)| *line == expected.trim_end()), "{lines:?}");
    let said: Vec<_> = ended.stderr.lines().collect();
    for host in ["app-gw", "web-gw"] {
        let opened = format!("{host}/{INTERFACE}: OK, ");
        let is_it = |line: &&str| line.starts_with(&opened) && says_an_hour(line, &opened);
        assert!(said.iter().any(|line| is_it(line) && line.ends_with("policy 101 Devices")), "{said:?}");
    }
    for (host, reason) in [("db-gw", "next round of db-gw expected by "), ("log-gw", "log-gw is overdue since ")] {
        let refused = format!("{host}/{INTERFACE}: refused: {reason}");
        let time = said.iter().find_map(|line| line.strip_prefix(&refused)).unwrap_or_else(|| panic!("{said:?}"));
        // HH:MM, behind a date around midnight
        let time = &time[time.len().saturating_sub(5)..];
        let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        assert!(time.split_once(':').is_some_and(|(hours, minutes)| digits(hours) && digits(minutes)), "{time}");
    }
    let from: Vec<Value> = site.bastion.log("released");
    assert_eq!(from.len(), 2);
    assert_eq!(from[0]["time"], from[1]["time"], "one transaction");
}

#[test]
fn a_server_that_refuses_to_open_is_left_out() {
    let mut site = Site::new();
    let device = site.justin.public_key().to_owned();
    let [app, web] = ["app-gw", "web-gw"].map(|name| site.host(name));
    let on_app = app.connect(false).wait_with_keys(&[&device], 1).remove(0);
    let mut agent = web.connect(true);
    agent.wait_with_keys(&[&device], 1);
    let ended = std::thread::scope(|scope| {
        let login = scope.spawn(|| site.justin.ssh(&["wgmfa-sync"]));
        let order = agent.conversation.hear_json();
        let refused = json!({"type": "opened", "id": order["id"], "refused": "the interface is gone"});
        agent.conversation.say_json(&refused);
        login.join().unwrap()
    });
    assert_eq!(ended.clone().expect(6).stdout, line(&app, &on_app));
    assert!(ended.stderr.contains("web-gw/wg0: refused: web-gw refuses: the interface is gone\n"), "{ended:?}");
    assert!(site.bastion.key("web-gw")["released_at"].is_null());
}
