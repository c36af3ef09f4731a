//! Rule 9: the way to unlock never runs through the lock, and routing is afterwards what it was.

use super::{BASTION, FullTunnel};

#[test]
fn when_the_bastion_is_reached_by_ipv4() {
    let mut full = FullTunnel::new();
    full.sync().ok();
    full.await_tunnel();
    let again = full.sync().ok();
    assert!(again.stdout.contains(": OK, "), "{again:?}");
    full.await_tunnel();
}

#[test]
fn when_the_bastion_is_reached_by_ipv6() {
    let mut full = FullTunnel::new();
    full.config(&format!("Host bastion\n  HostName {}\n", BASTION[1]));
    full.sync().ok();
    full.await_tunnel();
}

#[test]
fn when_another_program_may_not_go_the_same_way() {
    let full = FullTunnel::new();
    let _login = full.start();
    let leaves_by = |words: &[&str]| {
        let route = full.lab.laptop.machine.run("ip", &[&["route", "get", BASTION[0]], words].concat()).ok().stdout;
        route.split_once(" dev ").expect("an interface").1.split(' ').next().expect("its name").to_owned()
    };
    let tunnel = &full.lab.laptop.tunnel.name;
    assert_eq!(leaves_by(&["ipproto", "tcp", "dport", "2222"]), "eth0");
    assert_eq!(&leaves_by(&["ipproto", "tcp", "dport", "443"]), tunnel);
    assert_eq!(&leaves_by(&["ipproto", "udp", "dport", "2222"]), tunnel);
    assert_eq!(&leaves_by(&[]), tunnel);
}
