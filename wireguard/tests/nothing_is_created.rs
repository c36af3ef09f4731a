//! Neither a peer nor an interface comes into being, and no daemon is started, whatever is asked.

mod lab;

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use lab::{Lab, Namespace, pair, prefix, random_key, run, socket};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, connect, listen};
use wgmfa_core::exit::Failure;
use wgmfa_wireguard::{EndpointRule, Error, interfaces, read, readd, set_preshared_key};

#[test]
fn an_unknown_peer_is_refused_by_name_and_the_known_one_beside_it_stays_as_it_is() {
    let lab = Lab::up();
    let (server, stranger) = (&lab.server, pair().1);
    let before = server.dump();
    let changes = [(lab.client.public_key, random_key()), (stranger, random_key())];
    for outcome in [
        server.inside(|| set_preshared_key(&server.name, &changes)),
        server.inside(|| readd(&server.name, &changes, EndpointRule::Drop)),
    ] {
        let failure = Failure::from(outcome.unwrap_err());
        assert_eq!(failure.error, format!("{}: not a peer of this interface: {stranger}", server.name));
        assert_eq!(failure.exit.code(), 1);
    }
    assert_eq!(server.dump(), before);
}

#[test]
fn a_missing_interface_is_an_error_and_stays_missing() {
    let namespace = Namespace::add(prefix());
    let name = namespace.0.clone().parse().unwrap();
    let errors = namespace.inside(|| {
        let changes = [(pair().1, random_key())];
        [
            read(&name).unwrap_err(),
            set_preshared_key(&name, &changes).unwrap_err(),
            readd(&name, &changes, EndpointRule::Keep).unwrap_err(),
        ]
    });
    let links = run(&["ip", "-n", &namespace.0, "-o", "link"]).stdout;
    for error in errors {
        assert_eq!(error.to_string(), format!("{name}: no such WireGuard interface here"));
    }
    assert_eq!(String::from_utf8_lossy(&links).lines().count(), 1, "only lo");
    assert!(namespace.processes().is_empty());
}

#[test]
fn only_interfaces_of_this_network_namespace_are_listed_and_a_stale_socket_is_named() {
    let lab = Lab::up();
    let (server, client) = (&lab.server, &lab.client);
    let listed = server.inside(interfaces).unwrap();
    assert_eq!(listed.names, std::slice::from_ref(&server.name));
    let reason = |listed: &wgmfa_wireguard::Interfaces| {
        listed.skipped.iter().find(|skipped| skipped.name == client.name.as_str()).map(|skipped| skipped.reason)
    };
    assert_eq!(reason(&listed), Some("not in this network namespace"));
    assert!(matches!(server.inside(|| read(&client.name)), Err(Error::Gone(_))), "sockets know no namespaces");

    client.kill_daemon();
    let listed = client.inside(interfaces).unwrap();
    assert_eq!((listed.names.len(), reason(&listed)), (0, Some("no daemon answers on its socket")));
    let changes = [(server.public_key, random_key())];
    let outcome = client.inside(|| readd(&client.name, &changes, EndpointRule::Keep));
    assert!(matches!(outcome, Err(Error::Gone(_))), "{outcome:?}");
    assert!(client.namespace.processes().is_empty());
}

#[test]
fn a_stale_socket_beside_an_interface_of_another_kind_starts_no_daemon() {
    let namespace = Namespace::add(prefix());
    let name = namespace.0.clone();
    run(&["ip", "-n", &namespace.0, "tuntap", "add", &name, "mode", "tun"]);
    let socket = socket(&name);
    std::fs::create_dir_all("/var/run/wireguard").unwrap();
    drop(UnixListener::bind(&socket).unwrap());
    let interface = name.parse().unwrap();
    let outcome = namespace.inside(|| readd(&interface, &[(pair().1, random_key())], EndpointRule::Keep));
    std::fs::remove_file(&socket).unwrap();
    assert!(matches!(outcome, Err(Error::Gone(_))), "{outcome:?}");
    assert!(namespace.processes().is_empty());
}

#[test]
fn an_interface_without_a_private_key_is_named_as_such() {
    let namespace = Namespace::add(prefix());
    let name: wgmfa_core::name::InterfaceName = namespace.0.clone().parse().unwrap();
    run(&["ip", "netns", "exec", &namespace.0, "wireguard-go", name.as_str()]);
    let outcome = namespace.inside(|| read(&name));
    assert!(matches!(outcome, Err(Error::Unconfigured(_))), "{outcome:?}");
}

#[test]
fn a_daemon_that_is_stopped_is_not_waited_for_without_end() {
    let lab = Lab::up();
    let daemons = lab.server.namespace.processes();
    daemons.iter().for_each(|pid| kill(*pid, Signal::SIGSTOP).unwrap());
    let stopped = |pid| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("T (stopped)");
    lab::await_that("the daemon is stopped", || daemons.iter().all(|pid| stopped(*pid)));
    let look = || {
        let begun = Instant::now();
        (lab.server.inside(|| read(&lab.server.name)).map_err(|error| error.to_string()).err(), begun.elapsed())
    };
    let (first, again) = (look(), look());
    daemons.iter().for_each(|pid| kill(*pid, Signal::SIGCONT).unwrap());
    let error = Some(format!("{}: its daemon does not answer", lab.server.name));
    assert_eq!([first.0, again.0], [error.clone(), error]);
    assert!(again.1 < Duration::from_secs(3), "other interfaces do not wait for it each time: {:?}", again.1);
    lab::await_that("it answers", || look().0.is_none());
}

#[test]
fn a_daemon_whose_queue_is_full_is_not_waited_for_at_all() {
    let namespace = Namespace::add(prefix());
    let name: wgmfa_core::name::InterfaceName = namespace.0.clone().parse().unwrap();
    run(&["ip", "-n", &namespace.0, "tuntap", "add", name.as_str(), "mode", "tun"]);
    let path = socket(name.as_str());
    std::fs::create_dir_all("/var/run/wireguard").unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    // nobody accepts: as many as the queue takes are connected, and the next one would wait
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let one = || {
        let stream = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        connect(stream.as_raw_fd(), &UnixAddr::new(path.as_str()).unwrap()).map(|()| stream)
    };
    let waiting: Vec<_> = std::iter::from_fn(|| one().ok()).collect();
    assert!(!waiting.is_empty());
    let begun = Instant::now();
    let (read, listed) = namespace.inside(|| (read(&name), interfaces()));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read.unwrap_err().to_string(), format!("{name}: its daemon does not answer"));
    assert!(listed.unwrap().names.contains(&name), "it is there, though it is silent");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
