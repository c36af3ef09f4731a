//! As much of a web server as Prometheus needs: `GET /metrics`, once per connection.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::timeout;

use crate::keeper::{Keeper, say};

/// Longest request, in bytes.
const LONGEST: usize = 4096;

/// So many requests are served at a time; others are hung up on.
const MOST: usize = 8;

/// So long may a request and its answer take.
const WITHIN: Duration = Duration::from_secs(5);

/// How long to pause when no connection can be taken: no descriptor is left, most likely.
const PAUSE: Duration = Duration::from_millis(100);

/// The content type of exposition format 0.0.4.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where requests come in.
pub enum Listener {
    /// A Unix socket.
    Unix(UnixListener),
    /// A port of this machine alone.
    Loopback(TcpListener),
}

/// Answers requests until the keeper ends.
pub async fn serve(keeper: Rc<Keeper>, listener: Listener) {
    let running = Rc::new(Cell::new(0_usize));
    loop {
        let taken: std::io::Result<Box<dyn Stream>> = match &listener {
            Listener::Unix(unix) => unix.accept().await.map(|(stream, _)| Box::new(stream) as _),
            Listener::Loopback(tcp) => tcp.accept().await.map(|(stream, _)| Box::new(stream) as _),
        };
        match taken {
            Ok(_) if running.get() >= MOST => {}
            Ok(stream) => {
                let (keeper, running) = (keeper.clone(), running.clone());
                running.set(running.get() + 1);
                tokio::task::spawn_local(async move {
                    // who does not ask in time, or does not wait for the answer, gets none
                    let _ = timeout(WITHIN, converse(&keeper, stream)).await;
                    running.set(running.get() - 1);
                });
            }
            Err(error) => {
                say(&format!("metrics: {error}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Either kind of connection.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

async fn converse(keeper: &Keeper, mut stream: Box<dyn Stream>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    let status = loop {
        if request.windows(4).any(|end| end == b"\r\n\r\n") {
            break asked(&request);
        }
        if request.len() >= LONGEST {
            break Err("431 Request Header Fields Too Large");
        }
        match stream.read(&mut chunk).await? {
            0 => return Ok(()),
            read => request.extend_from_slice(&chunk[..read]),
        }
    };
    let answer = match status.map(|()| keeper.exposition()) {
        Ok(Ok(text)) => answer("200 OK", &text),
        Ok(Err(error)) => {
            say(&format!("metrics: {error}"));
            answer("500 Internal Server Error", "the store cannot be read\n")
        }
        Err(status) => answer(status, &format!("{status}\n")),
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Whether a request is the one that is answered; else the status that refuses it.
pub(super) fn asked(request: &[u8]) -> Result<(), &'static str> {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    match words[..] {
        [method, target, version] if version.starts_with(b"HTTP/1.") => match (method, target) {
            (b"GET", target) if target.split(|byte| *byte == b'?').next() == Some(b"/metrics") => Ok(()),
            (b"GET", _) => Err("404 Not Found"),
            _ => Err("405 Method Not Allowed"),
        },
        _ => Err("400 Bad Request"),
    }
}

fn answer(status: &str, body: &str) -> String {
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n{body}",
        body.len()
    )
}
