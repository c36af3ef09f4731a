//! One connection from its first byte to `gone`, and what the keeper orders on it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use russh::server::{Config, Handle};
use russh::{ChannelId, Disconnect};
use tokio::net::TcpStream;
use tokio::time::Instant;
use wgmfa_core::message::front::{Admits, FromFront, Limits};

use super::channels::{Channels, text_for};
use super::deadline::Lifetime;
use super::handler::{Client, LAST_WORDS, STDERR};
use super::keeper::{Keeper, Order};
use super::limits::Place;
use super::login::Login;

/// Bytes of output that are handed to the library at once; the rest waits where it is counted.
const PIECE: usize = 32 * 1024;

/// Seconds without a sign of life before the other machine's kernel is asked, and between questions.
const KEEPALIVE_SECONDS: u32 = 15;

/// Unanswered questions after which a connection is dead.
const KEEPALIVE_QUESTIONS: u32 = 3;

/// What all connections share.
pub struct Front {
    /// How SSH is spoken, by connections that begin now.
    pub ssh: RwLock<Arc<Config>>,
    /// The way to the keeper.
    pub keeper: Keeper,
    /// Limits of each connection.
    pub limits: Limits,
    /// People may come with SSH keys.
    pub keys: bool,
}

/// Serves one connection to its end.
pub async fn serve(front: Arc<Front>, stream: TcpStream, peer: SocketAddr, admits: Admits, place: Place) {
    let Front { ssh, keeper, limits, keys } = &*front;
    let ssh = Arc::clone(&ssh.read().unwrap_or_else(PoisonError::into_inner));
    let lifetime = Lifetime::until(Instant::now() + Duration::from_secs(limits.login_seconds));
    let (conversation, replies, mut orders) = keeper.begin(&lifetime);
    stay_awake(&stream);
    let channels = Channels::default();
    let session = Arc::new(OnceLock::new());
    let from = (peer.ip().to_canonical(), admits);
    let client = Client {
        login: Login::new((conversation, replies), keeper.clone(), lifetime.clone(), from, *limits, *keys),
        keeper: keeper.clone(),
        lifetime: lifetime.clone(),
        limits: *limits,
        place,
        channels: channels.clone(),
        session: Arc::clone(&session),
        opened: 0,
    };
    // Every failure here is the client's: it went away, was too slow or broke the protocol.
    if let Ok(mut running) = russh::server::run_stream(ssh, lifetime.limit(stream), client).await {
        let handle = session.get_or_init(|| running.handle()).clone();
        let mut answered = false;
        loop {
            tokio::select! {
                _ = &mut running => break,
                order = orders.next() => match order {
                    Some(order) => {
                        answered |= matches!(order, Order::Output { exit: Some(_), .. });
                        let leaves = answered && channels.open().is_empty();
                        let confirm = confirms(&order);
                        // an error means that the session has ended, which the other branch then sees
                        if carry_out(order, leaves, &handle, &channels, &lifetime).await.is_ok()
                            && let Some(channel) = confirm
                        {
                            let _ = keeper.ask(FromFront::Taken { conversation, channel }).await;
                        }
                    }
                    None => { let _ = (&mut running).await; break }
                }
            }
        }
    }
    keeper.end(conversation).await;
}

/// The kernel notices a dead peer. Not the SSH library: its questions are also sent during a login, where stock `ssh`
/// takes them for a protocol error.
fn stay_awake(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_SECONDS);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &KEEPALIVE_SECONDS);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &KEEPALIVE_QUESTIONS);
    let _ = setsockopt(stream, sockopt::TcpUserTimeout, &((KEEPALIVE_QUESTIONS + 1) * KEEPALIVE_SECONDS * 1000));
}

/// The channel on which the keeper waits until this is carried out.
fn confirms(order: &Order) -> Option<u32> {
    match order {
        Order::Output { channel, confirm: true, .. } => Some(*channel),
        _ => None,
    }
}

/// The session has ended.
struct Ended;

/// `leaves`: the client has the exit status of all it asked for, and goes by itself.
async fn carry_out(
    order: Order,
    leaves: bool,
    handle: &Handle,
    channels: &Channels,
    lifetime: &Lifetime,
) -> Result<(), Ended> {
    match order {
        Order::End(reason) => {
            super::log::line(&format!("hanging up: {reason}"));
            lifetime.shorten(Instant::now() + LAST_WORDS);
            if leaves {
                return Ok(()); // stock ssh drops what it has not printed when a disconnect comes
            }
            let text = "closed by the bastion".to_owned();
            handle.disconnect(Disconnect::ByApplication, text, String::new()).await.map_err(|_| Ended)
        }
        Order::Echo { channel, shown } => {
            if let Some(open) = channels.open().get_mut(&channel) {
                open.input.echo(shown);
            }
            Ok(())
        }
        Order::Output { channel: number, stdout, stderr, exit, .. } => {
            let Some((channel, terminal)) = channels.find(number) else { return Ok(()) };
            send(handle, channel, None, &text_for(terminal, stdout.expose())).await?;
            send(handle, channel, Some(STDERR), &text_for(terminal, &stderr)).await?;
            match exit {
                Some(status) => {
                    channels.close(number);
                    handle.exit_status_request(channel, status.into()).await.map_err(|()| Ended)?;
                    handle.eof(channel).await.map_err(|()| Ended)?;
                    handle.close(channel).await.map_err(|()| Ended)
                }
                None => Ok(()),
            }
        }
    }
}

async fn send(handle: &Handle, channel: ChannelId, kind: Option<u32>, bytes: &[u8]) -> Result<(), Ended> {
    for piece in bytes.chunks(PIECE) {
        let sent = match kind {
            None => handle.data(channel, piece.to_vec()).await,
            Some(kind) => handle.extended_data(channel, kind, piece.to_vec()).await,
        };
        sent.map_err(|_| Ended)?;
    }
    Ok(())
}
