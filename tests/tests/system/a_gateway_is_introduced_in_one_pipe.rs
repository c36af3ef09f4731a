//! A new gateway and the bastion get to know each other in one line, typed on the administrator's machine.

use wgmfa_tests::bastion::PORT;
use wgmfa_tests::machine::{Machine, unique};
use wgmfa_tests::program::{ours, run};

use super::site::Site;

#[test]
fn the_key_goes_from_the_gateway_through_the_administrators_machine_to_the_bastion() {
    let mut site = Site::new();
    let mut ann = site.administrator("ann");
    let gateway = Machine::new(&unique());
    site.wire.plug(&gateway);
    let config = gateway.path("agent.toml").display().to_string();
    let line = site.bastion.known_hosts().lines().next().expect("a host key").to_owned();
    let code = ann.fresh_code();
    ann.laptop.set_code(&code);

    // `ssh app-gw sudo` in the example: here another namespace with that machine's name
    let pipe = r#"ip netns exec "$1" unshare --uts sh -c 'hostname app-gw && exec "$@"' - \
                      "$2" --config "$3" init --bastion "$4" --known-host "$5" --print-key |
                  ssh -F "$6" bastion wgmfa-bastion host add app-gw --key -"#;
    let mut command = ann.laptop.command("sh");
    command.args(["-c", pipe, "-", gateway.namespace()]).arg(ours("wgmfa-agent")).arg(&config);
    command.arg(format!("{}:{PORT}", site.bastion.address)).arg(line).arg(ann.laptop.ssh_config());
    let said = run(&mut command, b"").ok();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("added app-gw\n", ""));

    let added = &site.bastion.log("host-added")[0];
    assert_eq!((&added["host"], &added["actor"]), (&"app-gw".into(), &"ann".into()), "{added}");
    // both know each other now
    run(gateway.command(ours("wgmfa-agent")).args(["--config", &config, "rotate"]), b"").ok();
    assert_eq!(site.count("host-connected") + site.count("host-refused"), 0, "one that comes by is no resident");
    let host = site.bastion.admin(&["--json", "host", "show", "app-gw"]).ok().json();
    assert!(host["hosts"][0]["last_seen"].is_string(), "{host}");
}
