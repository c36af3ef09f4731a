//! A RADIUS server that knows one person (RFC 2865): what `pam_radius_auth.so` asks.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use wgmfa_tests::machine::Machine;
use wgmfa_tests::program::run;

/// The secret that server and client share.
pub const SECRET: &str = "shared-by-this-test";

/// The lengths of a packet's head, and of an MD5 digest.
const HEAD: usize = 20;
const DIGEST: usize = 16;

/// A running server. Dropped, it ends.
pub struct Radius {
    answers: Arc<Mutex<Vec<bool>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Radius {
    /// Listens on 127.0.0.1:1812 of a machine.
    pub fn start(machine: &Machine, user: &'static str, password: &'static str) -> Self {
        let socket = machine.within(|| UdpSocket::bind("127.0.0.1:1812").expect("the port is free"));
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket of ours");
        let answers = Arc::<Mutex<Vec<bool>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let (told, stopped) = (Arc::clone(&answers), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut packet = [0; 4096];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
                let accepts = is_right(&packet[..length], user, password);
                let _ = socket.send_to(&answer(&packet[..length], accepts), from);
                told.lock().expect("no one panics with it").push(accepts);
            }
        });
        Self { answers, stop, thread: Some(thread) }
    }

    /// What it has answered so far.
    pub fn answers(&self) -> Vec<bool> {
        self.answers.lock().expect("no one panics with it").clone()
    }
}

impl Drop for Radius {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether an Access-Request names this person with this password.
fn is_right(request: &[u8], user: &str, password: &str) -> bool {
    let (authenticator, mut rest) = (&request[HEAD - DIGEST..HEAD], &request[HEAD..]);
    let (mut named, mut given) = (Vec::new(), Vec::new());
    while let [kind, length, ..] = rest {
        let (value, behind) = rest[2..].split_at(usize::from(*length) - 2);
        match kind {
            1 => named = value.to_vec(),
            2 => given = reveal(value, authenticator),
            _ => {}
        }
        rest = behind;
    }
    named == user.as_bytes() && given == password.as_bytes()
}

/// The password that an attribute hides (RFC 2865, 5.2).
fn reveal(hidden: &[u8], authenticator: &[u8]) -> Vec<u8> {
    let (mut shown, mut before) = (Vec::new(), authenticator);
    for block in hidden.chunks(DIGEST) {
        let mask = md5(&[SECRET.as_bytes(), before].concat());
        shown.extend(block.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        before = block;
    }
    shown.into_iter().take_while(|byte| *byte != 0).collect()
}

/// Access-Accept or Access-Reject, without attributes.
fn answer(request: &[u8], accepts: bool) -> Vec<u8> {
    let head = [if accepts { 2 } else { 3 }, request[1], 0, HEAD as u8];
    let digest = md5(&[&head, &request[HEAD - DIGEST..HEAD], SECRET.as_bytes()].concat());
    [&head[..], &digest].concat()
}

fn md5(text: &[u8]) -> [u8; DIGEST] {
    let shown = run(&mut Command::new("md5sum"), text).ok().stdout;
    std::array::from_fn(|at| u8::from_str_radix(&shown[2 * at..2 * at + 2], 16).expect("hexadecimal digits"))
}
