//! Whoever has asked for a command, and gets its answer as it comes.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;
use wgmfa_core::message::admin::AdminReply;

use super::conversation::Over;
use super::wire::Wire;

/// In whose name a command is carried out.
#[derive(Debug, Clone)]
pub struct By {
    /// `root` on the bastion itself, or the person's name.
    pub name: String,
    /// Where the words come from over SSH.
    pub from: Option<IpAddr>,
}

impl By {
    /// Root on the bastion itself.
    pub fn root() -> Self {
        Self { name: "root".to_owned(), from: None }
    }
}

/// Nobody listens any more.
#[derive(Debug)]
pub enum Gone {
    /// The caller has gone.
    Caller,
    /// The connection is over, and the caller with it.
    Connection(Over),
}

/// The other side of a command.
pub trait Caller {
    /// Hands on a part of the answer; with an exit status, the last one.
    async fn hear(&mut self, reply: AdminReply) -> Result<(), Gone>;

    /// What follows has no end of its own: the caller's connection lives as long as the caller likes.
    fn stay(&mut self) {}

    /// Waits this long, or until the caller has gone.
    async fn wait(&mut self, how_long: Duration) -> Result<(), Gone>;
}

impl Caller for Wire {
    async fn hear(&mut self, reply: AdminReply) -> Result<(), Gone> {
        self.send(&reply).await.map_err(|_| Gone::Caller)
    }

    async fn wait(&mut self, how_long: Duration) -> Result<(), Gone> {
        match timeout(how_long, self.receive::<serde::de::IgnoredAny>()).await {
            Err(_) => Ok(()),
            // there is nothing more to be said by this side
            Ok(_) => Err(Gone::Caller),
        }
    }
}
