use serde_json::json;
use wgmfa_tests::daemon::Daemon;
use wgmfa_tests::machine::{Machine, Wire, unique};
use wgmfa_tests::program::run;
use wgmfa_tests::tunnel::{Keys, PeerConfig, Tunnel, genkey};

use crate::scene::Scene;

#[test]
fn the_keys_are_written_and_the_bastion_is_told() {
    let scene = Scene::new();
    let before = scene.preshared_keys();
    let (key, preshared_key) = scene.key(0, 7);
    scene.bastion_answers(&format!("{}\n", scene.release(&[key])));
    let ended = scene.sync(&["--", "-F", "config"]).ok();

    assert!(ended.stdout.starts_with("gw0/devices: OK, 60 min left (until "), "{ended:?}");
    assert!(ended.stdout.ends_with("), policy 101 Prod User Devices\n"), "{ended:?}");
    assert_eq!(ended.stderr, "");
    assert_eq!(scene.preshared_keys(), [preshared_key, before[1].clone()]);
    let (machine, peer) = (&scene.machine, &scene.peers[0]);
    assert_eq!(scene.tunnel.allowed_ips(machine, peer), "10.77.0.0/24 fd77::/64");
    assert_eq!(scene.tunnel.endpoint(machine, peer), "10.99.0.1:51820");

    let hello: serde_json::Value = serde_json::from_str(&scene.file("bin/hello").unwrap()).unwrap();
    assert_eq!(hello["version"], 1);
    assert_eq!(hello["public_keys"], json!([scene.tunnel.keys.public]));
    assert_eq!(hello["peers"].as_array().unwrap().len(), 2);
    assert_eq!(
        scene.said(),
        [json!({"received": true}), json!({"applied": [{"peer_public_key": scene.peers[0], "generation": 7}]})]
    );
    assert_eq!(
        scene.file("bin/arguments").unwrap().lines().collect::<Vec<_>>().join(" "),
        "-o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=12 -o ControlMaster=no -o ControlPath=none -F config -T -s -- \
         bastion wgmfa-sync"
    );
}

#[test]
fn a_key_that_stands_there_already_is_left_alone() {
    let scene = Scene::new();
    let (key, _) = scene.key(0, 7);
    scene.bastion_answers(&format!("{}\n", scene.release(&[key])));
    scene.sync(&[]).ok();
    // a peer that is added again loses its counters; one that is left alone keeps what it was given since
    let endpoint = ["set", &scene.tunnel.name, "peer", &scene.peers[0], "endpoint", "10.99.0.9:9"];
    scene.machine.run("wg", &endpoint).ok();
    let ended = scene.sync(&[]).ok();
    assert!(ended.stdout.starts_with("gw0/devices: OK, "), "{ended:?}");
    assert_eq!(scene.tunnel.endpoint(&scene.machine, &scene.peers[0]), "10.99.0.9:9");
    assert_eq!(scene.said().len(), 2);
}

#[test]
fn a_refused_connection_is_named_and_the_status_is_6() {
    let scene = Scene::new();
    let (key, _) = scene.key(0, 7);
    let mut release = scene.release(&[key]);
    release["refused"] = json!([{"connection": "gw1/devices:justins-laptop", "reason": "no key is waiting"}]);
    scene.bastion_answers(&format!("{release}\n"));
    let ended = scene.sync(&[]).expect(6);
    assert_eq!(ended.stderr, "gw1/devices: refused: no key is waiting\n");
    assert!(ended.stdout.starts_with("gw0/devices: OK, "), "{ended:?}");

    release["keys"] = json!([]);
    scene.bastion_answers(&format!("{release}\n"));
    scene.sync(&[]).expect(6);
}

#[test]
fn nothing_to_release_is_no_failure() {
    let scene = Scene::new();
    scene.bastion_answers(&format!("{}\n", scene.release(&[])));
    assert_eq!(scene.sync(&[]).ok().stdout, "no connection of justins-laptop needs a login\n");
}

#[test]
fn a_device_is_asked_for_by_its_name() {
    let scene = Scene::new();
    let (key, preshared_key) = scene.key(0, 7);
    scene.bastion_answers(&format!("{}\n", scene.release(&[key])));
    scene.sync(&["--device", "justins-laptop"]).ok();
    let hello: serde_json::Value = serde_json::from_str(&scene.file("bin/hello").unwrap()).unwrap();
    assert_eq!(hello["device"], "justins-laptop");
    assert_eq!(scene.preshared_keys()[0], preshared_key);
}

#[test]
fn the_configuration_says_what_nobody_types() {
    let scene = Scene::new();
    let (key, preshared_key) = scene.key(0, 7);
    scene.bastion_answers(&format!("{}\n", scene.release(&[key])));
    std::fs::create_dir_all(scene.machine.path(".config/wgmfa")).unwrap();
    let config =
        format!("bastion = \"ssh://j@b:2222\"\ninterface = \"{}\"\nssh-options = [\"-4\"]\n", scene.tunnel.name);
    scene.machine.write(".config/wgmfa/client.toml", &config);
    scene.wgmfa(&["sync", "--", "-6"], "").ok();
    let arguments = scene.file("bin/arguments").unwrap();
    assert!(arguments.ends_with("-4\n-6\n-T\n-s\n--\nssh://j@b:2222\nwgmfa-sync\n"), "{arguments}");
    assert_eq!(scene.preshared_keys()[0], preshared_key);

    let named = scene.machine.write("other.toml", "bastion = \"-x\"\nsaave = true\n");
    let ended = scene.wgmfa(&["--config", &named.to_string_lossy(), "sync"], "").expect(2);
    for expected in ["wgmfa: error: broken configuration", "other.toml:1:11: ", "other.toml:2:1: ", "2 faults"] {
        assert!(ended.stderr.contains(expected), "{ended:?}");
    }
}

#[test]
fn save_writes_the_key_where_the_interface_is_configured() {
    let mut scene = Scene::new();
    let folder = scene.machine.own_etc("wireguard");
    let file = folder.join(format!("{}.conf", scene.tunnel.name));
    let text = |key: &str| {
        format!(
            "[Interface] # mine\nPrivateKey = {}\n\n[peer]\npublickey={}\npresharedkey={key}\n",
            genkey(),
            scene.peers[0]
        )
    };
    let before = text(&genkey());
    wgmfa_tests::machine::write_private(&file, &before);
    let (key, preshared_key) = scene.key(0, 7);
    scene.bastion_answers(&format!("{}\n", scene.release(&[key])));
    let ended = scene.sync(&["--save"]).ok();
    assert!(ended.stdout.ends_with(", saved\n"), "{ended:?}");
    let (old, new) = (before, std::fs::read_to_string(&file).unwrap());
    let differing: Vec<_> = old.lines().zip(new.lines()).filter(|(old, new)| old != new).collect();
    assert_eq!(differing.len(), 1);
    assert_eq!(differing[0].1, format!("presharedkey={preshared_key}"));

    std::fs::remove_file(&file).unwrap();
    let ended = scene.sync(&["--save"]).expect(6);
    assert!(ended.stderr.contains(": not saved: there is no /etc/wireguard/"), "{ended:?}");
    assert_eq!(scene.preshared_keys()[0], preshared_key);
}

#[test]
fn wait_tells_when_the_tunnel_is_there() {
    let name = unique();
    let mut wire = Wire::new(&format!("{name}n"));
    let (gateway, laptop) = (Machine::new(&format!("{name}g")), Scene::new());
    let address = wire.plug(&gateway);
    wire.plug(&laptop.machine);
    let (key, preshared_key) = laptop.key(0, 7);
    let peer = PeerConfig {
        public_key: laptop.tunnel.keys.public.clone(),
        preshared_key: Some(preshared_key),
        endpoint: None,
        allowed_ips: "10.77.0.2/32".to_owned(),
    };
    let keys = Keys::generate();
    let (peer_name, public) = (format!("{name}g0"), keys.public.clone());
    let _gateway_tunnel = Tunnel::up(&gateway, &peer_name, keys, "10.77.0.1/24", 51820, &[peer]);
    // the scene's first peer gets the gateway's public key: what it had goes with the old peer
    let set = |words: &[&str]| laptop.machine.run("wg", &[&["set", &laptop.tunnel.name], words].concat()).ok();
    set(&["peer", &laptop.peers[0], "remove"]);
    set(&["peer", &public, "endpoint", &format!("{address}:51820"), "allowed-ips", "10.77.0.0/24"]);
    laptop.machine.ip(&["route", "add", "10.77.0.0/24", "dev", &laptop.tunnel.name]);
    let mut key = key;
    key["peer_public_key"] = json!(public);
    laptop.bastion_answers(&format!("{}\n", laptop.release(&[key])));

    // nothing is sent through the tunnel, and it has no persistent keepalive
    let ended = run(laptop.command().args(["sync", "bastion", "--wait"]), b"").ok();
    assert!(ended.stdout.contains("\ngw0/devices: connected in "), "{ended:?}");
    let keepalives = laptop.machine.run("wg", &["show", &laptop.tunnel.name, "persistent-keepalive"]).ok().stdout;
    assert!(keepalives.lines().any(|line| line == format!("{public}\toff")), "{keepalives}");
    let pings = Daemon::start(laptop.machine.command("ping").args(["-n", "-i", "0.02", "10.77.0.1"]));
    pings.await_line("64 bytes from 10.77.0.1");
    assert_ne!(laptop.tunnel.latest_handshake(&laptop.machine, &public), 0);
}

#[test]
fn a_sync_that_is_killed_leaves_the_interface_and_the_next_one_works() {
    let scene = Scene::new();
    let before = scene.preshared_keys();
    let (key, preshared_key) = scene.key(0, 7);
    let line = format!("{}\n", scene.release(&[key]));
    scene.bastion_answers(&line[..line.len() / 2]);
    scene.machine.write("bin/hang", "");
    let mut sync = Daemon::start(scene.command().args(["sync", "bastion"]));
    wgmfa_tests::wait::until("the hello", wgmfa_tests::wait::LONG, || scene.file("bin/hello"));
    sync.kill();
    assert_eq!(scene.preshared_keys(), before);

    scene.bastion_answers(&line);
    std::fs::remove_file(scene.machine.path("bin/hang")).unwrap();
    scene.sync(&[]).ok();
    assert_eq!(scene.preshared_keys()[0], preshared_key);
}
