//! A stream that ends at a deadline, whatever the SSH library is waiting for.
//!
//! The library has no login grace time, and a session cannot be ended from outside while it waits for the network: so
//! the stream under it fails, in both directions, once the deadline is past.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a connection may live; may be changed while it lives.
#[derive(Debug, Clone)]
pub struct Lifetime(Arc<watch::Sender<Option<Instant>>>);

impl Lifetime {
    /// Until this moment.
    pub fn until(deadline: Instant) -> Self {
        Self(Arc::new(watch::Sender::new(Some(deadline))))
    }

    /// Another deadline; `None`: for ever.
    pub fn change(&self, deadline: Option<Instant>) {
        self.0.send_replace(deadline);
    }

    /// Never later than this.
    pub fn shorten(&self, deadline: Instant) {
        self.0.send_modify(|current| *current = Some(current.map_or(deadline, |current| current.min(deadline))));
    }

    /// Resolves when the deadline is past.
    pub async fn over(&self) {
        let mut changes = self.0.subscribe();
        loop {
            let deadline = *changes.borrow_and_update();
            let past = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = past => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The stream, ended at the deadline.
    pub fn limit<S>(&self, stream: S) -> Limited<S> {
        let lifetime = self.clone();
        Limited { stream, over: Some(Box::pin(async move { lifetime.over().await })) }
    }
}

/// A stream with a [`Lifetime`].
pub struct Limited<S> {
    stream: S,
    /// `None` once the deadline is past.
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S> Limited<S> {
    fn alive(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(over) = &mut self.over
            && over.as_mut().poll(context).is_pending()
        {
            return Ok(());
        }
        self.over = None;
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.alive(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.alive(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.alive(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_stream_ends_at_its_deadline_and_not_before() {
        let (near, mut far) = tokio::io::duplex(8);
        let lifetime = Lifetime::until(Instant::now() + Duration::from_secs(3600));
        let mut near = lifetime.limit(near);
        far.write_all(b"a").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'a');

        lifetime.change(None);
        let waiting = tokio::spawn(async move { (near.read_u8().await.unwrap_err().kind(), near) });
        tokio::task::yield_now().await;
        lifetime.shorten(Instant::now());
        let (kind, mut near) = waiting.await.unwrap();
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert_eq!(near.write_u8(b'b').await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
