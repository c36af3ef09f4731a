//! Bastion and agent tell the service manager when they are ready and that they are alive, as sd_notify(3) has it.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use wgmfa_tests::Lab;
use wgmfa_tests::wait::LONG;

/// What is said on the socket: the first message, and then another one of the others.
fn hear(socket: &UnixDatagram) -> String {
    let mut said = [0; 256];
    let length = socket.recv(&mut said).expect("something is said in time");
    String::from_utf8_lossy(&said[..length]).trim_end().to_owned()
}

fn listen(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).expect("a socket");
    socket.set_read_timeout(Some(LONG)).expect("a limit");
    socket
}

#[test]
fn that_it_is_ready_and_then_again_and_again_that_it_is_alive() {
    let mut lab = Lab::with_resident_agent("1h");
    lab.bastion.stop();
    drop(lab.gateway.agent.take());
    let (of_bastion, of_agent) = (lab.bastion.machine.path("notify"), lab.gateway.machine.path("notify"));
    let (bastion, agent) = (listen(&of_bastion), listen(&of_agent));

    lab.bastion.start_with(&[("NOTIFY_SOCKET", of_bastion.to_str().expect("a path in UTF-8"))]);
    lab.gateway.start_with(&[("NOTIFY_SOCKET", of_agent.to_str().expect("a path in UTF-8"))]);
    for socket in [&bastion, &agent] {
        assert_eq!([hear(socket), hear(socket), hear(socket)], ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    }
    // nobody else of the bastion's processes speaks for it
    lab.gateway.await_contact(&lab.bastion);
    lab.log_in();
    assert_eq!(hear(&bastion), "WATCHDOG=1");
}
