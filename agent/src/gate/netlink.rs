//! A netlink socket: requests, dumps and transactions. Every answer is checked.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink_bindings::builtin::Nlmsghdr;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname, recv, send, setsockopt,
    socket, sockopt,
};
use nix::sys::time::TimeVal;

pub const REQUEST: u16 = 0x1;
pub const ACK: u16 = 0x4;
pub const DUMP: u16 = 0x300;
pub const EXCLUSIVE: u16 = 0x200;
pub const CREATE: u16 = 0x400;
const DUMP_INTERRUPTED: u16 = 0x10;

const ERROR: u16 = 0x2;
const DONE: u16 = 0x3;

/// The kernel answers at once, or never.
const PATIENCE_SECONDS: i64 = 5;

/// How often a dump begins anew because somebody changed what it lists.
const TRIES: usize = 20;

/// Room for the notices of a large change.
const NOTICES: usize = 4 << 20;

/// A message on its way: the header, to be completed when its length is known.
pub struct Batch {
    pub bytes: Vec<u8>,
    begun: Option<usize>,
    /// The sequence number of the last message.
    last: u32,
}

impl Batch {
    fn new(first: u32) -> Self {
        Self { bytes: Vec::new(), begun: None, last: first.wrapping_sub(1) }
    }

    /// Begins the next message; its payload is then pushed to `bytes`.
    pub fn begin(&mut self, kind: u16, flags: u16) -> &mut Vec<u8> {
        self.end();
        self.begun = Some(self.bytes.len());
        self.last = self.last.wrapping_add(1);
        let header = Nlmsghdr { len: 0, r#type: kind, flags: REQUEST | flags, seq: self.last, pid: 0 };
        self.bytes.extend_from_slice(header.as_slice());
        &mut self.bytes
    }

    fn end(&mut self) {
        if let Some(begun) = self.begun.take() {
            let length = self.bytes.len() - begun;
            self.bytes[begun..begun + 4].copy_from_slice(&(length as u32).to_ne_bytes());
            self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        }
    }
}

/// A netlink socket of this thread's network namespace.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
    room: usize,
}

impl Socket {
    /// Opens one that is asked, and answers.
    pub fn open(protocol: SockProtocol) -> io::Result<Self> {
        let fd = open(protocol, 0)?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE_SECONDS, 0))?;
        Ok(Self { fd, sequence: 1, buffer: vec![0; 64 << 10], room: 0 })
    }

    /// Lists what there is: the payloads of all answers.
    pub fn dump(&mut self, kind: u16, encode: impl Fn(&mut Vec<u8>)) -> io::Result<Vec<Vec<u8>>> {
        for _ in 0..TRIES {
            let sequence = self.send(|batch| encode(batch.begin(kind, DUMP)))?;
            let (mut found, mut interrupted) = (Vec::new(), false);
            let ended = self.receive(|message| {
                if message.sequence != sequence {
                    return None;
                }
                interrupted |= message.flags & DUMP_INTERRUPTED != 0;
                match message.kind {
                    ERROR | DONE => Some(status(message.payload)),
                    _ => {
                        found.push(message.payload.to_vec());
                        None
                    }
                }
            });
            match ended {
                Ok(()) if !interrupted => return Ok(found),
                Ok(()) => {}
                // the table vanished while it was listed
                Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the ruleset changed all the while it was listed"))
    }

    /// Asks for one thing, or has one thing done: the payloads of the answers before the acknowledgement.
    pub fn request(&mut self, kind: u16, flags: u16, encode: impl FnOnce(&mut Vec<u8>)) -> io::Result<Vec<Vec<u8>>> {
        let sequence = self.send(|batch| encode(batch.begin(kind, ACK | flags)))?;
        let mut found = Vec::new();
        self.receive(|message| {
            if message.sequence != sequence {
                return None;
            }
            if message.kind == ERROR {
                return Some(status(message.payload));
            }
            found.push(message.payload.to_vec());
            None
        })?;
        Ok(found)
    }

    /// Sends messages that are done all or not at all: nfnetlink between its two marks, which are the first and the last.
    /// Those between them ask for an acknowledgement each.
    pub fn transaction(&mut self, fill: impl FnOnce(&mut Batch)) -> io::Result<()> {
        let first = self.sequence;
        let last = self.send(fill)?;
        // the end mark itself is acknowledged since Linux 6.10 only
        let last_acknowledged = last.wrapping_sub(1);
        let mut failed = Ok(());
        let ended = self.receive(|message| {
            let ours = message.sequence.wrapping_sub(first) <= last.wrapping_sub(first);
            if !ours || message.kind != ERROR {
                return None;
            }
            let status = status(message.payload);
            if status.is_err() && failed.is_ok() {
                failed = status;
            }
            // a transaction that fails as a whole is answered at its first message alone
            (message.sequence == last_acknowledged || (message.sequence == first && failed.is_err())).then_some(Ok(()))
        });
        failed.and(ended)
    }

    fn send(&mut self, fill: impl FnOnce(&mut Batch)) -> io::Result<u32> {
        let mut batch = Batch::new(self.sequence);
        fill(&mut batch);
        batch.end();
        self.sequence = batch.last.wrapping_add(1);
        // a transaction must go out in one piece, whatever the usual limit is
        let needed = batch.bytes.len() + 4096;
        if needed > self.room.max(64 << 10) {
            setsockopt(&self.fd, sockopt::SndBufForce, &needed)?;
            self.room = needed;
        }
        let sent = loop {
            match send(self.fd.as_raw_fd(), &batch.bytes, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                sent => break sent?,
            }
        };
        if sent == batch.bytes.len() { Ok(batch.last) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Hands messages over until one of them ends it.
    fn receive(&mut self, mut take: impl FnMut(Message<'_>) -> Option<io::Result<()>>) -> io::Result<()> {
        loop {
            let length = match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                received => received?,
            };
            for message in messages(&self.buffer[..length]) {
                if let Some(ended) = take(message) {
                    return ended;
                }
            }
        }
    }
}

/// A socket that tells of changes.
#[derive(Debug)]
pub struct Monitor {
    fd: OwnedFd,
    port: u32,
    groups: u32,
}

impl Monitor {
    /// Listens to these groups (bit 0 is group 1).
    pub fn open(protocol: SockProtocol, groups: u32) -> io::Result<Self> {
        let fd = open(protocol, groups)?;
        // what does not fit is noticed as well (ENOBUFS), so less room would do
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &NOTICES);
        let port = getsockname::<NetlinkAddr>(fd.as_raw_fd())?.pid();
        Ok(Self { fd, port, groups })
    }

    /// Does something of which it does not tell. Otherwise the kernel would write a notice for each element, which takes
    /// longer than to change it.
    pub fn unaware<T>(&self, act: impl FnOnce() -> T) -> T {
        let listen = |groups| bind(self.fd.as_raw_fd(), &NetlinkAddr::new(self.port, groups));
        // where that fails there is more to read, and nothing is lost
        let _ = listen(0);
        let done = act();
        let _ = listen(self.groups);
        done
    }

    /// Throws away what was told. Whether there was anything.
    pub fn drain(&self) -> bool {
        let mut any = false;
        let mut buffer = [0; 64];
        loop {
            match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(Errno::ENOBUFS) => any = true,
                Err(Errno::EINTR) => {}
                Err(_) => return any,
            }
        }
    }

    /// The descriptor that becomes readable.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open(protocol: SockProtocol, groups: u32) -> io::Result<OwnedFd> {
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = Nlmsghdr::new_from_slice(rest.get(..Nlmsghdr::len())?)?;
        // the answer to a refused message holds that message, and may be cut off
        let end = rest.len().min(header.len as usize);
        let payload = rest.get(Nlmsghdr::len()..end)?;
        rest = rest.get(end.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind: header.r#type, flags: header.flags, sequence: header.seq, payload })
    })
}

fn status(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)) {
        None | Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
    }
}
