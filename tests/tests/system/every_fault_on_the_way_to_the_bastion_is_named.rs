//! `wgmfa-agent check` against a real bastion: each way in which it cannot be reached, and what can be found from here.

use wgmfa_tests::Lab;
use wgmfa_tests::bastion::PORT;
use wgmfa_tests::gateway::Gateway;
use wgmfa_tests::program::run;

/// What `check` finds, without what it says of this machine's clock, and its exit status.
#[track_caller]
fn check(gateway: &Gateway) -> (i32, Vec<String>, Vec<String>) {
    let ended = gateway.agent(&["check", "--json"]);
    let found = ended.json();
    let texts = |key: &str| {
        let all = found[key].as_array().expect("a list").iter();
        all.map(|text| text.as_str().expect("a text").to_owned())
            .filter(|text| !text.starts_with("clock: no time"))
            .collect()
    };
    (ended.code(), texts("faults"), texts("warnings"))
}

/// Has the agent look for its bastion elsewhere.
fn bastion_at(gateway: &Gateway, address: &str) {
    let path = gateway.machine.path("agent.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let rest: Vec<&str> = text.lines().filter(|line| !line.starts_with("bastion ")).collect();
    std::fs::write(&path, format!("bastion = \"{address}\"\n{}\n", rest.join("\n"))).unwrap();
}

#[test]
fn a_good_way_is_good_and_disturbs_nobody() {
    let lab = Lab::with_resident_agent("1h");
    assert_eq!(check(&lab.gateway), (0, vec![], vec![]));
    lab.gateway.agent(&["check"]).ok();
    assert!(lab.bastion.log("host-replaced").is_empty(), "the resident agent stays connected");
    let hosts = lab.bastion.admin(&["--json", "host", "list"]).ok().json();
    assert_eq!(hosts["hosts"][0]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn each_way_not_to_reach_the_bastion_is_said_apart() {
    let lab = Lab::new("1h");
    let known = lab.gateway.machine.path("known_hosts");
    let good = std::fs::read_to_string(&known).unwrap();
    let key = good.split_once(' ').unwrap().1.to_owned();
    let address = lab.bastion.address.clone();
    let fault = |lab: &Lab, status: i32| {
        let (exit, faults, _) = check(&lab.gateway);
        assert_eq!((exit, faults.len()), (status, 1), "{faults:?}");
        faults.into_iter().next().unwrap()
    };

    std::fs::write(&known, "").unwrap();
    assert!(
        fault(&lab, 2).contains(&format!("no host key for [{address}]:{PORT} (wgmfa-agent init --known-host 'LINE')"))
    );
    std::fs::write(&known, format!("[nowhere.invalid]:{PORT} {key}[{address}]:9 {key}{good}")).unwrap();

    bastion_at(&lab.gateway, &format!("nowhere.invalid:{PORT}"));
    assert!(fault(&lab, 5).contains("its name does not resolve (try: getent hosts nowhere.invalid)"));
    bastion_at(&lab.gateway, &format!("{address}:9"));
    assert!(fault(&lab, 5).contains("connection refused (try: ssh -p 9 "));
    bastion_at(&lab.gateway, &format!("{address}:{PORT}"));

    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    std::fs::write(&known, format!("[{address}]:{PORT} {other}\n")).unwrap();
    assert!(fault(&lab, 5).contains("its host key is not the one in "));
    std::fs::write(&known, good).unwrap();

    lab.bastion.admin(&["host", "disable", &lab.gateway.name]).ok();
    let refused = fault(&lab, 3);
    assert!(refused.contains("does not accept this host's key (on the bastion: wgmfa-bastion host add"), "{refused}");
    lab.bastion.admin(&["host", "enable", &lab.gateway.name]).ok();
    assert_eq!(check(&lab.gateway).0, 0);
}

#[test]
fn a_way_that_runs_through_an_mfa_peer_is_named() {
    let lab = Lab::with_resident_agent("1h");
    let machine = &lab.gateway.machine;
    let (interface, peer) = (&lab.gateway.tunnel.name, &lab.laptop.tunnel.keys.public);
    let allow =
        |nets: &str| run(machine.command("wg").args(["set", interface, "peer", peer, "allowed-ips", nets]), b"").ok();
    allow(&format!("10.77.0.2/32,{}/32", lab.bastion.address));
    let route = ["route", "add", &format!("{}/32", lab.bastion.address), "dev", interface, "src", "10.77.0.1"];
    run(machine.command("ip").args(route), b"").ok();
    let (_, _, warnings) = check(&lab.gateway);
    let named = warnings.iter().find(|warning| warning.contains("a peer under an MFA policy"));
    assert!(named.is_some_and(|warning| warning.contains("route the bastion outside of the tunnel")), "{warnings:?}");
    run(machine.command("ip").args(["route", "del", &format!("{}/32", lab.bastion.address)]), b"").ok();
    assert_eq!(check(&lab.gateway).2, [""; 0]);
}
