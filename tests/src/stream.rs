//! An open TCP stream between two machines, and what it proves: bytes flow both ways as long as nothing holds them back.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::machine::Machine;
use crate::wait::{LONG, until};

/// How often a byte is sent each way.
const EVERY: Duration = Duration::from_millis(20);

/// A stream of bytes. Dropped, it ends.
#[derive(Debug)]
pub struct Stream {
    over: Arc<AtomicBool>,
    heard: Arc<Mutex<Option<SystemTime>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Stream {
    /// Connects `from` to `to` at this address, and waits until bytes flow.
    ///
    /// # Panics
    /// They do not.
    #[track_caller]
    pub fn open(from: &Machine, to: &Machine, address: &str) -> Self {
        let listener = to.within(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a port is free"));
        let port = listener.local_addr().expect("it is bound").port();
        let address = SocketAddr::new(address.parse().expect("an address"), port);
        let client = from.within(|| TcpStream::connect_timeout(&address, LONG).expect("nothing holds it back"));
        let (server, _) = listener.accept().expect("the client has come");
        let (over, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let talk = |stream: TcpStream, heard: Option<Arc<Mutex<Option<SystemTime>>>>| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || talk(stream, &over, heard.as_deref()))
        };
        let threads = vec![talk(client, Some(Arc::clone(&heard))), talk(server, None)];
        let stream = Self { over, heard, threads };
        until("bytes on the stream", LONG, || stream.heard());
        stream
    }

    /// When the last byte came.
    pub fn heard(&self) -> Option<SystemTime> {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing has come for a while; gives when the last byte came.
    ///
    /// # Panics
    /// Bytes go on.
    #[track_caller]
    pub fn await_silence(&self, quiet: Duration, limit: Duration) -> SystemTime {
        until("silence on the stream", limit, || {
            let heard = self.heard()?;
            SystemTime::now().duration_since(heard).is_ok_and(|silence| silence > quiet).then_some(heard)
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| _ = thread.join());
    }
}

/// Sends and hears single bytes until it is over. A stream that is held back neither fails nor hears.
fn talk(mut stream: TcpStream, over: &AtomicBool, heard: Option<&Mutex<Option<SystemTime>>>) {
    stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).expect("a stream takes options");
    let mut bytes = [0; 64];
    while !over.load(Ordering::Relaxed) {
        let _ = stream.write(b".");
        if matches!(stream.read(&mut bytes), Ok(1..))
            && let Some(heard) = heard
        {
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(SystemTime::now());
        }
        std::thread::sleep(EVERY);
    }
}
