//! Prometheus reads numbers: well-formed, with bounded labels, and without the name of anybody or anything.

use std::collections::{BTreeMap, BTreeSet};

use wgmfa_tests::Lab;
use wgmfa_tests::bastion::Bastion;
use wgmfa_tests::lab::{DEVICE, HOST, USER};
use wgmfa_tests::wait::{LONG, until};

/// The body of an answer, fetched in the bastion's machine.
#[track_caller]
fn get(bastion: &Bastion, arguments: &[&str]) -> String {
    let fetched = bastion.machine.run("curl", &[&["--silent", "--show-error", "--include"], arguments].concat()).ok();
    let (head, body) = fetched.stdout.split_once("\r\n\r\n").expect("an answer has a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

/// Every sample, by its name and labels. What `promtool check metrics` would complain of fails.
#[track_caller]
fn parse(text: &str) -> BTreeMap<String, f64> {
    let (mut helped, mut types) = (BTreeSet::new(), BTreeMap::new());
    let mut samples = BTreeMap::new();
    assert!(text.ends_with('\n'), "the last line ends too");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("a help has words");
            assert!(helped.insert(name.to_owned()) && !words.is_empty(), "{line}");
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type has a kind");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
        let value: f64 = value.parse().expect("a value is a number");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|part| {
                name.strip_suffix(part).filter(|family| types.get(*family).is_some_and(|kind| kind == "histogram"))
            })
            .unwrap_or(name);
        assert!(helped.contains(family) && types.contains_key(family), "{line}: no HELP or TYPE before it");
        assert!(name.starts_with("wgmfa_") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
        for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').expect("a label has a value");
            assert!(["state", "kind", "what", "reason", "by", "event", "le"].contains(&label), "{line}");
            assert!(value.starts_with('"') && value.ends_with('"') && value.len() < 30, "{line}");
        }
        assert!(samples.insert(series.to_owned(), value).is_none(), "{line}: twice");
    }
    samples
}

#[test]
fn they_count_what_happens_and_hold_no_name() {
    let mut lab = Lab::new("30s");
    let socket = lab.bastion.folder().join("run/metrics.sock");
    lab.bastion.configure("metrics", &format!("\"unix:{}\"", socket.display()));
    lab.bastion.stop();
    lab.bastion.start();
    lab.gateway.start();
    lab.await_waiting_key();
    lab.laptop.set_code("000000");
    lab.laptop.sync_as_set(&[]).expect(3);
    lab.log_in();
    lab.bastion.await_state(DEVICE, "OK");

    let path = socket.to_str().expect("a name");
    let scrape = || get(&lab.bastion, &["--unix-socket", path, "http://localhost/metrics"]);
    let samples = |name: &str| parse(&scrape()).get(name).copied();
    until("the open session is counted", LONG, || {
        (samples("wgmfa_connections{state=\"OK\"}") == Some(1.0)).then_some(())
    });
    let text = scrape();
    let found = parse(&text);
    for (series, value) in [
        ("wgmfa_connections{state=\"Expired\"}", 0.0),
        ("wgmfa_releases_total{kind=\"first\"}", 1.0),
        ("wgmfa_refusals_total{what=\"login\",reason=\"code-wrong\"}", 1.0),
        ("wgmfa_login_seconds_count", 1.0),
        ("wgmfa_agents_connected", 1.0),
        ("wgmfa_hosts", 1.0),
        ("wgmfa_hosts_overdue", 0.0),
        ("wgmfa_peers_with_two_endpoints", 0.0),
        ("wgmfa_audit_events_total{event=\"released\"}", 1.0),
    ] {
        assert_eq!(found.get(series), Some(&value), "{series} in\n{text}");
    }
    assert!(found["wgmfa_store_bytes"] > 0.0 && found["wgmfa_audit_log_lines"] > 5.0);
    let keys = [&lab.gateway.tunnel.keys.public, &lab.laptop.tunnel.keys.public].map(String::as_str);
    for name in [USER, DEVICE, HOST, "devices", lab.gateway.tunnel.name.as_str(), lab.bastion.address.as_str()]
        .iter()
        .chain(&keys)
    {
        assert!(!text.contains(name), "{name} in\n{text}");
    }

    lab.bastion.await_generation(DEVICE, 2);
    // the keeper looks at what has changed from time to time: at the lock, and at the next key perhaps a moment later
    until("the lock and the next key are measured", LONG, || {
        let measured = ["wgmfa_deadline_to_lock_seconds_count", "wgmfa_rotation_lag_seconds_count"].map(samples);
        (measured == [Some(1.0); 2]).then_some(())
    });
    let found = parse(&scrape());
    assert!(found["wgmfa_deadline_to_lock_seconds_sum"] < 30.0);
}

#[test]
fn a_loopback_address_serves_this_machine_and_nothing_but_the_metrics() {
    let mut lab = Lab::new("1h");
    lab.bastion.machine.ip(&["link", "set", "lo", "up"]);
    lab.bastion.configure("metrics", "\"127.0.0.1:9586\"");
    lab.bastion.stop();
    lab.bastion.start();
    assert!(!parse(&get(&lab.bastion, &["http://127.0.0.1:9586/metrics"])).is_empty());
    let status = |arguments: &[&str]| {
        let words = [&["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"], arguments].concat();
        lab.bastion.machine.run("curl", &words).stdout
    };
    let url = "http://127.0.0.1:9586/metrics";
    assert_eq!(status(&["http://127.0.0.1:9586/"]), "404");
    assert_eq!(status(&["--request", "POST", url]), "405");
    let long = format!("X: {}", "x".repeat(5000));
    assert_eq!(status(&["--header", &long, url]), "431");
    let outside = format!("http://{}:9586/metrics", lab.bastion.address);
    assert_eq!(status(&["--max-time", "5", &outside]), "000", "nobody listens there");

    lab.bastion.configure("metrics", "\"0.0.0.0:9586\"");
    let refused = lab.bastion.admin(&["check"]).expect(2);
    assert!(refused.stdout.contains("metrics: write"), "{refused:?}");
}
