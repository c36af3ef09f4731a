//! How SSH is spoken here, and who is let in at the door.

use std::borrow::Cow;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use russh::keys::ssh_key::{Algorithm, EcdsaCurve};
use russh::server::Config;
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};
use wgmfa_core::key::SecretText;
use wgmfa_core::message::front::{Admits, Limits};

use super::connection::{Front, serve};
use super::keeper::Keeper;
use super::limits::{Doors, Full, Source};
use super::log;

/// Key exchange: hybrid post-quantum first. The last four names are no methods but extensions; without the strict ones
/// the guard against Terrapin (CVE-2023-48795) would be off.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Host keys, and the keys of hosts and people (those on a FIDO token need no name here). No RSA: its crate is left out (RUSTSEC-2023-0071), and with it SHA-1.
const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
];

const CIPHERS: &[cipher::Name] = &[cipher::CHACHA20_POLY1305, cipher::AES_256_GCM, cipher::AES_256_CTR];

const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM, mac::HMAC_SHA512, mac::HMAC_SHA256];

/// Flow control window of a channel, in bytes: people send codes, hosts send reports.
const WINDOW: u32 = 64 * 1024;

/// Refused requests of one connection, offered keys among them, before the library hangs up.
const REFUSALS: usize = 64;

/// Messages of a connection that the library has taken and not yet written.
const MESSAGES: usize = 4;

/// How long to wait when no connection can be accepted, for want of descriptors for example.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Opens the doors: accepts on each socket whom it admits, in the background.
///
/// # Errors
/// When a host key cannot be read or a socket not be used.
pub fn open(
    doors: Vec<(TcpListener, Admits)>,
    host_keys: &[SecretText],
    limits: Limits,
    keys: bool,
    keeper: &Keeper,
) -> Result<Arc<Front>, String> {
    let ssh = RwLock::new(Arc::new(ssh(host_keys)?));
    let front = Arc::new(Front { ssh, keeper: keeper.clone(), limits, keys });
    let places = Doors::new(limits);
    for (listener, admits) in doors {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(|error| format!("listening: {error}"))?;
        tokio::spawn(accept(Arc::clone(&front), listener, admits, Arc::clone(&places)));
    }
    Ok(front)
}

/// Takes other host keys for the connections that begin from now on.
///
/// # Errors
/// When one of them cannot be read: then all stays as it is.
pub fn take_keys(front: &Front, host_keys: &[SecretText]) -> Result<(), String> {
    *front.ssh.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ssh(host_keys)?);
    Ok(())
}

async fn accept(front: Arc<Front>, listener: tokio::net::TcpListener, admits: Admits, places: Arc<Mutex<Doors>>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {
                continue;
            }
            Err(error) => {
                log::line(&format!("warning: accept: {error}"));
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        match Doors::enter(&places, Source::of(peer.ip())) {
            Ok(place) => {
                tokio::spawn(serve(Arc::clone(&front), stream, peer, admits, place));
            }
            Err(Full::All) => log::line(&format!("warning: {}: no place for another connection", peer.ip())),
            Err(Full::Source) => log::line(&format!("warning: {}: too many connections without a login", peer.ip())),
        }
    }
}

fn ssh(host_keys: &[SecretText]) -> Result<Config, String> {
    let keys = host_keys
        .iter()
        .enumerate()
        .map(|(index, key)| {
            russh::keys::decode_secret_key(key.expose(), None)
                .map_err(|error| format!("host key {} cannot be read: {error}", index + 1))
        })
        .collect::<Result<_, _>>()?;
    Ok(Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-wgmfa")),
        methods: MethodSet::from([MethodKind::PublicKey, MethodKind::KeyboardInteractive].as_slice()),
        // the keeper gives all refusals of a login one duration
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys,
        window_size: WINDOW,
        channel_buffer_size: 1,
        event_buffer_size: MESSAGES,
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            key: Cow::Borrowed(KEYS),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        max_auth_attempts: REFUSALS,
        // the stream under a connection ends it; the library's timers would also strike while the keeper decides
        inactivity_timeout: None,
        keepalive_interval: None,
        ..Config::default()
    })
}
