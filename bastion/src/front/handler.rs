//! What one client asks for, request by request, each answered: a request without an answer leaves stock `ssh` hanging.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::keys::ssh_key::{Algorithm, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Handle, Handler, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, Error, Pty};
use tokio::time::Instant;
use wgmfa_core::message::front::{FromFront, Limits};
use wgmfa_core::message::{LINE_FROM_AGENT, LINE_FROM_PERSON, LINE_OF_INPUT};

use super::channels::{Channels, Open, text_for};
use super::deadline::Lifetime;
use super::input::{Event, Input};
use super::keeper::Keeper;
use super::limits::Place;
use super::log;
use super::login::{AGENT, Broken, Login};
use crate::voice::PROGRAM;

/// Time for the last words to reach a client that is hung up on.
pub const LAST_WORDS: Duration = Duration::from_secs(2);

/// Channels that one connection may open in its life: the library keeps a little of each.
const CHANNELS_EVER: u32 = 1000;

/// The exit status of a command that Ctrl-C ended, as shells tell it: 128 and SIGINT.
const INTERRUPTED: u32 = 130;

/// The extended data type of standard error (RFC 4254, section 5.2).
pub const STDERR: u32 = 1;

/// One client.
pub struct Client {
    /// Who it is.
    pub login: Login,
    /// The way to the keeper.
    pub keeper: Keeper,
    /// How long the connection may live.
    pub lifetime: Lifetime,
    /// Its limits.
    pub limits: Limits,
    /// Its place among all connections.
    pub place: Place,
    /// Its open channels.
    pub channels: Channels,
    /// Its session, once that runs.
    pub session: Arc<OnceLock<Handle>>,
    /// How many channels it has opened.
    pub opened: u32,
}

impl Client {
    /// A login that broke a rule ends the connection, with the words that are meant for a person.
    async fn settle(&self, verdict: Result<Auth, Broken>) -> Result<Auth, Error> {
        let conversation = self.login.conversation;
        match verdict {
            Ok(auth) => Ok(auth),
            Err(Broken::Silently(why)) => {
                log::line(&format!("conversation {conversation}: {why}"));
                Err(Error::Disconnect)
            }
            Err(Broken::Telling(why)) => {
                log::line(&format!("conversation {conversation}: {why}"));
                if let Some(session) = self.session.get() {
                    let _ = session.disconnect(Disconnect::ByApplication, why, String::new()).await;
                }
                self.lifetime.shorten(Instant::now() + LAST_WORDS);
                Ok(Auth::reject())
            }
        }
    }

    async fn ask(&self, message: FromFront) -> Result<(), Error> {
        self.keeper.ask(message).await.map_err(|_| Error::Disconnect)
    }

    async fn key(&mut self, user: &str, key: &PublicKey, algorithm: &Algorithm, verified: bool) -> Result<Auth, Error> {
        let verdict = match (algorithm, key.to_openssh()) {
            (Algorithm::Ed25519 | Algorithm::Ecdsa { .. }, Ok(line)) => self.login.key(user, line, verified).await,
            // the library verifies the token's signature, but does not show whether somebody has touched it
            (Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256, Ok(line)) if user != AGENT => {
                self.login.key(user, line, verified).await
            }
            _ => self.login.other_method(user),
        };
        self.settle(verdict).await
    }

    /// Hands a command to the keeper, which knows the commands; one for each channel.
    async fn run(
        &mut self,
        channel: ChannelId,
        command: String,
        subsystem: bool,
        session: &mut Session,
    ) -> Result<(), Error> {
        let terminal = match self.channels.open().get_mut(&channel.number()) {
            Some(open) if !open.running && command.len() <= LINE_FROM_PERSON => {
                open.running = true;
                if command.starts_with(PROGRAM) && !self.login.is_host() {
                    open.input.set_limit(LINE_OF_INPUT);
                }
                Some(open.input.is_terminal())
            }
            _ => None,
        };
        let Some(terminal) = terminal else { return session.channel_failure(channel) };
        session.channel_success(channel)?;
        let (conversation, channel) = (self.login.conversation, channel.number());
        self.ask(FromFront::Exec { conversation, channel, command, subsystem, terminal }).await
    }

    async fn came(
        &mut self,
        channel: ChannelId,
        events: VecDeque<Event>,
        terminal: bool,
        session: &mut Session,
    ) -> Result<(), Error> {
        let (conversation, number) = (self.login.conversation, channel.number());
        for event in events {
            match event {
                Event::Echo(bytes) => session.data(channel, bytes)?,
                // in JSON there is none, and wrapped for the keeper it is longer than a line may be
                Event::Line(line) if self.login.is_host() && line.expose().bytes().any(|byte| byte < b' ') => {
                    return self.stop(channel, "wgmfa: error: a control character in a line\n", 1, session).await;
                }
                Event::Line(line) => {
                    self.ask(FromFront::Line { conversation, channel: number, line }).await?;
                }
                Event::Ended => self.ask(FromFront::InputEnded { conversation, channel: number }).await?,
                Event::Interrupted => return self.stop(channel, "", INTERRUPTED, session).await,
                Event::Unreadable(why) => {
                    let text = text_for(terminal, &format!("wgmfa: error: {why}\n"));
                    return self.stop(channel, text, 1, session).await;
                }
            }
        }
        Ok(())
    }

    /// Ends a channel whose command the keeper still runs.
    async fn stop(
        &mut self,
        channel: ChannelId,
        why: impl Into<Vec<u8>>,
        status: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        self.gone(channel).await?;
        let why = why.into();
        if !why.is_empty() {
            session.extended_data(channel, STDERR, why)?;
        }
        session.exit_status_request(channel, status)?;
        session.eof(channel)?;
        session.close(channel)
    }

    async fn gone(&self, channel: ChannelId) -> Result<(), Error> {
        let (conversation, channel) = (self.login.conversation, channel.number());
        if self.channels.close(channel) {
            self.ask(FromFront::ChannelGone { conversation, channel }).await?;
        }
        Ok(())
    }
}

async fn forwards_nothing(reply: ChannelOpenHandle) -> Result<(), Error> {
    let code = ChannelOpenFailure::AdministrativelyProhibited.code();
    reply.reject(ChannelOpenFailure::Other { code, reason: "wgmfa forwards nothing".into() }).await;
    Ok(())
}

impl Handler for Client {
    type Error = Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Error> {
        let verdict = self.login.other_method(user);
        self.settle(verdict).await
    }

    async fn auth_password(&mut self, user: &str, _password: &str) -> Result<Auth, Error> {
        let verdict = self.login.other_method(user);
        self.settle(verdict).await
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Error> {
        self.key(user, offer.public_key, offer.algorithm, false).await
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        self.key(user, key.public_key, key.algorithm, true).await
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Error> {
        let verdict = match response {
            None => self.login.begin(user).await,
            Some(answers) => self.login.answer(user, answers).await,
        };
        self.settle(verdict).await
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Error> {
        self.place.logged_in();
        let session = Duration::from_secs(self.limits.session_seconds);
        self.lifetime.change((!self.login.is_host()).then(|| Instant::now() + session));
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        let id = channel.id();
        let limit = if self.login.is_host() { LINE_FROM_AGENT } else { LINE_FROM_PERSON };
        let admitted = {
            let mut open = self.channels.open();
            let admitted = open.len() < self.limits.channels && self.opened < CHANNELS_EVER;
            if admitted {
                open.insert(id.number(), Open { id, input: Input::new(limit), running: false });
            }
            admitted
        };
        self.opened += 1;
        if admitted {
            reply.accept().await;
        } else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
        }
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _address: &str,
        _port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        forwards_nothing(reply).await
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _to: &str,
        _to_port: u32,
        _from: &str,
        _from_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        forwards_nothing(reply).await
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _to: &str,
        _to_port: u32,
        _from: &str,
        _from_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        forwards_nothing(reply).await
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        forwards_nothing(reply).await
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        let early = match self.channels.open().get_mut(&channel.number()) {
            Some(open) if !open.running => {
                open.input.terminal();
                true
            }
            _ => false,
        };
        if early { session.channel_success(channel) } else { session.channel_failure(channel) }
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_failure(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Error> {
        self.run(channel, String::new(), false, session).await
    }

    async fn exec_request(&mut self, channel: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Error> {
        self.run(channel, String::from_utf8_lossy(command).into_owned(), false, session).await
    }

    async fn subsystem_request(&mut self, channel: ChannelId, name: &str, session: &mut Session) -> Result<(), Error> {
        self.run(channel, name.to_owned(), true, session).await
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Error> {
        let came = self.channels.open().get_mut(&channel.number()).filter(|open| open.running).map(|open| {
            let events = open.input.take(data);
            (events, open.input.is_terminal())
        });
        match came {
            Some((events, terminal)) => self.came(channel, events, terminal, session).await,
            None => Ok(()),
        }
    }

    async fn channel_eof(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Error> {
        let events = self
            .channels
            .open()
            .get_mut(&channel.number())
            .filter(|open| open.running)
            .map_or_else(VecDeque::new, |open| open.input.end());
        self.came(channel, events, false, session).await
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Error> {
        self.gone(channel).await
    }
}
