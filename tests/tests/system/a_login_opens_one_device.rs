//! Rule 6: a login releases what belongs to the device that it names, and never another device's, whoever owns that.

use wgmfa_tests::Lab;
use wgmfa_tests::lab::DEVICE;
use wgmfa_tests::tunnel::Keys;
use wgmfa_tests::wait::{LONG, until};

#[test]
fn neither_another_device_of_the_person_nor_another_persons() {
    let mut lab = Lab::new("1h");
    lab.bastion.add_user("alice");
    for (device, owner, address) in
        [("justins-phone", "justin", "10.77.0.3/32"), ("alices-laptop", "alice", "10.77.0.4/32")]
    {
        let public_key = Keys::generate().public;
        let interface = &lab.gateway.tunnel.name;
        lab.gateway.machine.run("wg", &["set", interface, "peer", &public_key, "allowed-ips", address]).ok();
        lab.bastion.add_device(device, owner, &public_key);
    }
    lab.gateway.start();
    until("three waiting keys", LONG, || {
        (lab.bastion.keys().iter().filter(|row| row["generation"] == 1).count() == 3).then_some(())
    });

    let refused = lab.laptop.ssh(&["wgmfa-sync", "--device", "alices-laptop"]).expect(1);
    assert!(refused.stderr.contains("you have no device of that name"), "{refused:#?}");
    assert_eq!(lab.bastion.log("released").len(), 0);
    let answer = lab.laptop.ssh(&["wgmfa-sync", "--device", DEVICE]).ok();
    assert_eq!(answer.stdout.lines().count(), 1, "{answer:#?}");
    for device in ["justins-phone", "alices-laptop"] {
        let row = lab.bastion.key(device);
        assert!(row["released_at"].is_null() && row["state"] == "Expired", "{row:#}");
    }
    let released = lab.bastion.log("released");
    assert_eq!(released.len(), 1, "{released:#?}");
    assert!(released[0]["connection"].as_str().is_some_and(|name| name.ends_with(DEVICE)), "{released:#?}");
}
