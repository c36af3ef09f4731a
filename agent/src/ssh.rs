//! The SSH connection to the bastion: its host key checked strictly, this host's key as the login, one subsystem.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{self, AuthResult};
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, known_hosts};
use russh::{Channel, Preferred};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_system::trusted::{self, Readers};

use crate::config::Config;
use crate::identity;
use crate::voice;

/// How long each step of a connection may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How often a silent connection is asked whether it lives; after three silences it is dead.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// An open connection: dropping it ends it.
pub struct Connection {
    _session: client::Handle<StrictClient>,
    /// The subsystem's channel.
    pub channel: Channel<client::Msg>,
    /// The key with which the bastion has proved itself, `TYPE BASE64`.
    pub host_key: String,
}

/// Accepts a host key only if it stands in the known-hosts file.
struct StrictClient {
    known: Vec<PublicKey>,
    shown: Arc<OnceLock<PublicKey>>,
}

impl client::Handler for StrictClient {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let shown = shown.public_key();
        let _ = self.shown.set(shown.clone());
        Ok(self.known.iter().any(|known| known.key_data() == shown.key_data()))
    }
}

/// Connects with this host's key. One that root has made to take its place (`wgmfa-agent new-key`) takes it as soon as the
/// bastion accepts that one and not the other any more.
///
/// # Errors
/// As [`connect`]; or a key cannot be read.
pub async fn connect_with_own_key(config: &Config) -> Result<(Connection, Arc<PrivateKey>), Failure> {
    let own = identity::read(&config.identity)?;
    let refused = match connect(config, own.clone()).await {
        Ok(connection) => return Ok((connection, own)),
        Err(failure) if failure.exit == Exit::LoginRefused => failure,
        Err(failure) => return Err(failure),
    };
    let Some(next) = identity::next(&config.identity)? else { return Err(refused) };
    let connection = connect(config, next.clone()).await.map_err(|failure| match failure.exit {
        Exit::LoginRefused => refused,
        _ => failure,
    })?;
    identity::put_next_in_place(&config.identity)?;
    voice::say(&format!("{}: this host's new SSH key is in use", config.identity.display()));
    Ok((connection, next))
}

/// Connects as the user `agent` and asks for the subsystem `wgmfa-agent`.
///
/// # Errors
/// [`Exit::Unreachable`] when the bastion does not answer or is not the one that is known, [`Exit::LoginRefused`] when it
/// does not know this host's key, [`Exit::Usage`] when the known-hosts file cannot be trusted.
pub async fn connect(config: &Config, identity: Arc<PrivateKey>) -> Result<Connection, Failure> {
    let known = known_keys(config)?;
    let address = &config.bastion;
    let settings = client::Config {
        keepalive_interval: Some(KEEPALIVE),
        nodelay: true,
        preferred: Preferred { key: algorithms(&known), ..Preferred::default() },
        ..client::Config::default()
    };
    let unreachable = |what: String| {
        let what = what.split(" (os error").next().unwrap_or_default();
        Failure::new(Exit::Unreachable, format!("bastion {address}: {what}"))
            .hint(format!("try: ssh -p {} agent@{}", address.port, address.host))
    };
    let addresses = resolve(config).await?;
    let dialled = timeout(PATIENCE, TcpStream::connect(&*addresses)).await;
    let stream = dialled
        .map_err(|_| unreachable("no answer within 10 s".to_owned()))?
        .map_err(|error| unreachable(error.to_string().to_lowercase()))?;
    let _ = stream.set_nodelay(true);
    let shown = Arc::new(OnceLock::new());
    let client = StrictClient { known, shown: shown.clone() };
    let greeted = timeout(PATIENCE, client::connect_stream(Arc::new(settings), stream, client)).await;
    let mut session =
        greeted.map_err(|_| unreachable("no SSH greeting within 10 s".to_owned()))?.map_err(|error| match error {
            russh::Error::UnknownKey | russh::Error::NoCommonAlgo { .. } => wrong_host_key(config),
            error => unreachable(error.to_string().to_lowercase()),
        })?;
    let login = session.authenticate_publickey("agent", PrivateKeyWithHashAlg::new(identity, None));
    let login =
        timeout(PATIENCE, login).await.map_err(|_| unreachable("no answer to the login within 10 s".to_owned()))?;
    match login.map_err(|error| unreachable(error.to_string().to_lowercase()))? {
        AuthResult::Success => {}
        AuthResult::Failure { .. } => {
            return Err(Failure::new(Exit::LoginRefused, format!("bastion {address} does not accept this host's key"))
                .hint(format!(
                    "on the bastion: wgmfa-bastion host add {} --key -; the key: wgmfa-agent init --print-key",
                    config.host
                )));
        }
    }
    let opened = timeout(PATIENCE, async {
        let channel = session.channel_open_session().await?;
        channel.request_subsystem(true, "wgmfa-agent").await?;
        Ok::<_, russh::Error>(channel)
    });
    let channel = opened
        .await
        .map_err(|_| unreachable("no channel within 10 s".to_owned()))?
        .map_err(|error| unreachable(error.to_string().to_lowercase()))?;
    let host_key = shown.get().map(one_line).unwrap_or_default();
    Ok(Connection { _session: session, channel, host_key })
}

/// The bastion's addresses.
///
/// # Errors
/// [`Exit::Unreachable`]: its name does not resolve.
pub async fn resolve(config: &Config) -> Result<Vec<SocketAddr>, Failure> {
    let address = &config.bastion;
    let looked_up = timeout(PATIENCE, lookup_host((address.host.as_str(), address.port))).await;
    let found = looked_up.ok().and_then(Result::ok).map(Vec::from_iter).unwrap_or_default();
    if found.is_empty() {
        let failure = Failure::new(Exit::Unreachable, format!("bastion {address}: its name does not resolve"));
        return Err(failure.hint(format!("try: getent hosts {}", address.host)));
    }
    Ok(found)
}

/// A key as `TYPE BASE64`, without a comment.
pub fn one_line(key: &PublicKey) -> String {
    let mut key = key.clone();
    key.set_comment("");
    key.to_openssh().map(|line| line.trim_end().to_owned()).unwrap_or_default()
}

/// The keys under which the bastion is known.
fn known_keys(config: &Config) -> Result<Vec<PublicKey>, Failure> {
    let known = read_known_keys(&config.known_hosts, &config.bastion.host, config.bastion.port)?;
    if known.is_empty() {
        let error = format!("{}: no host key for {}", config.known_hosts.display(), config.bastion);
        return Err(Failure::new(Exit::Unreachable, error)
            .hint("on the bastion: wgmfa-bastion host-key; then here: wgmfa-agent init --known-host 'LINE'"));
    }
    Ok(known)
}

/// The keys of one host in a known-hosts file (`sshd(8)`), hashed names too.
///
/// # Errors
/// The file cannot be trusted, or a line of this host holds no key.
pub fn read_known_keys(path: &Path, host: &str, port: u16) -> Result<Vec<PublicKey>, Failure> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    trusted::file(path, Readers::Anyone)?;
    let found = known_hosts::known_host_keys_path(host, port, path)
        .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))?;
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

/// Asks only for keys that can be compared, so that a bastion with several shows the right one.
fn algorithms(known: &[PublicKey]) -> Cow<'static, [Algorithm]> {
    let mut algorithms = Vec::new();
    for key in known {
        if !algorithms.contains(&key.algorithm()) {
            algorithms.push(key.algorithm());
        }
    }
    Cow::Owned(algorithms)
}

fn wrong_host_key(config: &Config) -> Failure {
    let known = config.known_hosts.display();
    let error = format!("bastion {}: its host key is not the one in {known}", config.bastion);
    Failure::new(Exit::Unreachable, error).hint(format!(
        "nothing was told to it; it may have changed its key while this host was away: compare with wgmfa-bastion host-key \
         on the bastion, then: rm {known}; wgmfa-agent init --known-host 'LINE'"
    ))
}
