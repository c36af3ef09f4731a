//! What the privileged half is asked, and what it answers.
//!
//! People pipe in what `wgmfa-sync` printed: lines of `PEER<TAB>PRESHARED-KEY`, or the JSON object. `wgmfa sync` writes
//! that object with a few fields more, so that sudo needs to allow nothing but the two words `wgmfa apply`.

use std::io::Read;

use serde::{Deserialize, Serialize};
use wgmfa_core::boottime::Boottime;
use wgmfa_core::exit::{Exit, Failure};
use wgmfa_core::key::{Fingerprint, PresharedKey, PublicKey};
use wgmfa_core::message::sync::{AppliedKey, ChangedKey, PolicyRef, Release, ReleasedKey};
use wgmfa_core::message::{VERSION, decode};
use wgmfa_core::name::{InterfaceName, TierName};
use zeroize::Zeroizing;

use crate::clock;
use crate::opened::OpenedFor;
use crate::voice::foreign;

/// Longest answer of a bastion, in bytes: some thousand keys.
pub const LONGEST: usize = 1024 * 1024;

/// What there is to do about an order that cannot be read.
pub const FORMATS: &str = "pipe in what ssh BASTION wgmfa-sync prints, with or without --format json";

/// How the keys are to be applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manner {
    /// Only this interface.
    #[serde(default)]
    pub interface: Option<InterfaceName>,
    /// Write the keys into the configuration file, too.
    #[serde(default)]
    pub save: bool,
    /// Wait for the handshakes.
    #[serde(default)]
    pub wait: bool,
    /// When the release came in; from then on the time runs, and a release that came later wins.
    #[serde(default)]
    pub received: Option<Boottime>,
    /// Answer in [`Answer`]s, not for people.
    #[serde(default)]
    pub answer: bool,
    /// Connections whose server side has changed to the next generation.
    #[serde(default)]
    pub changed: Vec<ChangedKey>,
}

/// A release with its manner, as `wgmfa sync` hands it over.
#[derive(Serialize)]
pub struct Handover<'a> {
    /// What the bastion sent.
    #[serde(flatten)]
    pub release: &'a Release,
    /// What to do with it.
    #[serde(flatten)]
    pub manner: &'a Manner,
}

/// One preshared key for one peer.
#[derive(Debug)]
pub struct Key {
    /// The peer.
    pub peer: PublicKey,
    /// The public key of the interface on which this peer is meant; none: any.
    pub public_key: Option<PublicKey>,
    /// The key.
    pub preshared_key: PresharedKey,
    /// The key that it follows in the session that runs: in its place it is set without a new handshake.
    pub follows: Option<PresharedKey>,
    /// What the bastion says about it; none when it came as a bare line.
    pub session: Option<Session>,
}

impl Key {
    /// What people call the connection; for a bare key, the peer.
    pub fn name(&self) -> String {
        match &self.session {
            Some(session) => short(&session.connection).to_owned(),
            None => format!("peer {}", self.peer),
        }
    }
}

/// What the bastion says about a released key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The connection's name.
    pub connection: String,
    /// The key's generation.
    pub generation: u64,
    /// The policy.
    pub policy: PolicyRef,
    /// How long it was good for when it came in.
    pub seconds_left: u64,
    /// Why it was not prolonged, when it ran before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_prolonged: Option<String>,
    /// The tier that opens and closes with the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<TierName>,
}

/// Everything to be done.
#[derive(Debug)]
pub struct Order {
    /// The keys.
    pub keys: Vec<Key>,
    /// The tiers that the same login has opened: only to be remembered.
    pub opened: Vec<OpenedFor>,
    /// The connections that the same login was refused: what was known of them is over.
    pub refused: Vec<String>,
    /// What could not be understood, a line each; it names the line, never its content.
    pub faults: Vec<String>,
    /// How.
    pub manner: Manner,
}

impl Order {
    /// An order from a release.
    pub fn new(release: &Release, manner: Manner) -> Self {
        let keys = release.keys.iter().map(|key| key_of(key, &manner.changed)).collect();
        let opened = release.grants.iter().map(OpenedFor::of).collect();
        Self { keys, opened, refused: refused(release), faults: Vec::new(), manner }
    }

    /// Reads an order, in either format.
    ///
    /// # Errors
    /// Nothing there, too long, or not one of the formats.
    pub fn read(input: impl Read) -> Result<Self, Failure> {
        let mut text = Zeroizing::new(Vec::with_capacity(LONGEST + 1)); // never moved, so that no copy stays behind
        let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("standard input: {error}"));
        input.take(LONGEST as u64 + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() > LONGEST {
            return Err(Failure::new(Exit::Failed, format!("standard input: more than {LONGEST} bytes")).hint(FORMATS));
        }
        match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => Err(Failure::new(Exit::Failed, "standard input: no keys came")
                .hint("if ssh refused the login, its message stands above")),
            Some(b'{') => Self::from_json(&text),
            Some(_) => Ok(Self::from_lines(&text)),
        }
    }

    fn from_json(text: &[u8]) -> Result<Self, Failure> {
        let broken = |error| Failure::new(Exit::Failed, format!("standard input: {error}")).hint(FORMATS);
        let release: Release = decode(text).map_err(broken)?;
        check_version(&release)?;
        let mut manner: Manner = decode(text).map_err(broken)?;
        // a release from the future would win over every later one
        manner.received = manner.received.map(|received| received.min(clock::boottime()));
        Ok(Self::new(&release, manner))
    }

    fn from_lines(text: &[u8]) -> Self {
        let mut order = Self {
            keys: Vec::new(),
            opened: Vec::new(),
            refused: Vec::new(),
            faults: Vec::new(),
            manner: Manner::default(),
        };
        for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            match one_line(line) {
                Ok(key) => order.keys.push(key),
                Err(why) => order.faults.push(format!("line {}: {why}", number + 1)),
            }
        }
        order
    }
}

/// The connections that the bastion refuses, by the names under which they are remembered.
pub fn refused(release: &Release) -> Vec<String> {
    release.refused.iter().map(|refused| foreign(&refused.connection)).collect()
}

/// The key that is in force: the next generation only where the server side has changed to it.
fn key_of(key: &ReleasedKey, changed: &[ChangedKey]) -> Key {
    let next = key.next.as_ref().filter(|next| {
        changed.iter().any(|one| one.peer_public_key == key.peer_public_key && one.generation == next.generation)
    });
    Key {
        peer: key.peer_public_key,
        public_key: Some(key.public_key),
        preshared_key: next.map_or(&key.preshared_key, |next| &next.preshared_key).clone(),
        follows: next.map(|_| key.preshared_key.clone()),
        session: Some(Session {
            connection: foreign(&key.connection),
            generation: next.map_or(key.generation, |next| next.generation),
            policy: PolicyRef { description: foreign(&key.policy.description), ..key.policy.clone() },
            seconds_left: key.seconds_left,
            not_prolonged: key.not_prolonged.as_deref().map(foreign),
            tier: key.tier.clone(),
        }),
    }
}

/// Whether this program understands what the bastion sent.
pub fn check_version(release: &Release) -> Result<(), Failure> {
    if release.version == VERSION {
        return Ok(());
    }
    let error = format!("the bastion speaks version {} and this program version {VERSION}", release.version);
    Err(Failure::new(Exit::Failed, error).hint("install the wgmfa that fits the bastion"))
}

fn one_line(line: &[u8]) -> Result<Key, &'static str> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (Some(peer), Some(key), None) = (words.next(), words.next(), words.next()) else {
        return Err("expected PEER-PUBLIC-KEY<TAB>PRESHARED-KEY");
    };
    let peer = std::str::from_utf8(peer).ok().and_then(|peer| peer.parse().ok());
    let key = std::str::from_utf8(key).ok().and_then(|key| key.parse().ok());
    match (peer, key) {
        (None, _) => Err("the first word is not a public key"),
        (_, None) => Err("the second word is not a preshared key"),
        (Some(peer), Some(preshared_key)) => {
            Ok(Key { peer, public_key: None, preshared_key, follows: None, session: None })
        }
    }
}

/// What the privileged half says to `wgmfa sync`, a JSON line each.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The keys stand in the interfaces.
    Outcome(Outcome),
    /// What [`Manner::wait`] has seen.
    Handshakes(Vec<Handshake>),
}

/// What has become of an order.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Keys that stand in an interface.
    pub done: Vec<Done>,
    /// What failed, a line each.
    pub faults: Vec<String>,
}

impl Outcome {
    /// How a program ends that has done no more than this.
    pub fn exit(&self) -> Exit {
        match (self.done.is_empty(), self.faults.is_empty()) {
            (_, true) => Exit::Done,
            (true, false) => Exit::Failed,
            (false, false) => Exit::Partly,
        }
    }
}

/// A key that stands in an interface.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The interface.
    pub interface: InterfaceName,
    /// The peer.
    pub peer: PublicKey,
    /// What the bastion says about it.
    pub session: Option<Session>,
    /// When it came in.
    pub received: Boottime,
    /// False: the key stood there before.
    pub changed: bool,
    /// It was written into the configuration file.
    pub saved: bool,
    /// What stands for the key that was read back, where no new handshake will soon show that it is the right one.
    pub fingerprint: Option<Fingerprint>,
}

impl Done {
    /// The connection without this device's name: what people call it.
    pub fn name(&self) -> String {
        match &self.session {
            Some(session) => short(&session.connection).to_owned(),
            None => format!("{}: peer {}", self.interface, self.peer),
        }
    }

    /// `app-gw/devices: OK, 60 min left (until 15:55), policy 101 Prod User Devices`
    pub fn line(&self) -> String {
        let saved = if self.saved { ", saved" } else { "" };
        let name = self.name();
        match &self.session {
            Some(session) => {
                let left = clock::left_of(session.seconds_left, self.received);
                let PolicyRef { ordinal, description, .. } = &session.policy;
                let tier = session.tier.as_ref().map_or(String::new(), |tier| format!(", tier {tier}"));
                let why = session.not_prolonged.as_ref().map_or(String::new(), |why| format!("; {why}"));
                format!("{name}: OK, {left}, policy {ordinal} {description}{tier}{saved}{why}")
            }
            None if self.changed => format!("{name}: preshared key changed{saved}"),
            None => format!("{name}: unchanged{saved}"),
        }
    }

    /// The same for the bastion, which knows generations only.
    pub fn report(&self) -> Option<AppliedKey> {
        let Session { generation, .. } = self.session.as_ref()?;
        Some(AppliedKey { peer_public_key: self.peer, generation: *generation, fingerprint: self.fingerprint })
    }
}

/// The connection's name without what stands behind the colon: on the person's machine that is always itself.
pub fn short(connection: &str) -> &str {
    connection.split_once(':').map_or(connection, |(end, _)| end)
}

/// What waiting for a handshake has shown.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// What people call the connection.
    pub name: String,
    /// Milliseconds until it came; none: it did not come.
    pub millis: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "0KL4NMTMM64zrRyHASlga46ubmiUtDsayaTJyF/EUYA=";
    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    #[test]
    fn lines_are_read_and_a_broken_one_is_named_by_its_number_only() {
        let text = format!("{PEER}\t{KEY}\r\n\n{PEER}\nnonsense\t{KEY}\n{PEER}\tsecret-{KEY}\n{PEER} {KEY} {KEY}");
        let order = Order::read(text.as_bytes()).unwrap();
        assert_eq!(order.keys.len(), 1);
        assert_eq!(
            order.faults,
            [
                "line 3: expected PEER-PUBLIC-KEY<TAB>PRESHARED-KEY",
                "line 4: the first word is not a public key",
                "line 5: the second word is not a preshared key",
                "line 6: expected PEER-PUBLIC-KEY<TAB>PRESHARED-KEY",
            ]
        );
        assert!(!format!("{order:?}").contains(KEY));
    }

    #[test]
    fn nothing_garbage_and_too_much_are_refused_without_an_echo() {
        for (input, expected) in [
            (&b""[..], "standard input: no keys came"),
            (b" \n", "standard input: no keys came"),
            (b"{\"secret\": 1}", "standard input: not a message of this conversation (column 13)"),
            (&vec![b'a'; LONGEST + 1], "standard input: more than 1048576 bytes"),
        ] {
            assert_eq!(Order::read(input).unwrap_err().error, expected);
        }
    }

    #[test]
    fn a_handover_is_read_as_it_was_written() {
        let text = format!(
            r#"{{"version":1,"user":"justin","device":"justins-laptop","keys":[{{"connection":"app-gw/devices:justins-laptop",
            "public_key":"{PEER}","peer_public_key":"{PEER}","preshared_key":"{KEY}","generation":7,"state":"Match Pending",
            "policy":{{"ordinal":101,"description":"Prod\u001b[2J","mfa":true}},"seconds_left":3600,"deadline":"2026-11-21T15:55:00Z"}}],
            "refused":[],"more":1}}"#
        );
        let release: Release = decode(text.as_bytes()).unwrap();
        let manner = Manner { interface: "wg0".parse().ok(), save: true, answer: true, ..Manner::default() };
        let handed = wgmfa_core::message::encode(&Handover { release: &release, manner: &manner });
        let order = Order::read(&handed[..]).unwrap();
        assert_eq!(order.manner, manner);
        let session = order.keys[0].session.clone().unwrap();
        assert_eq!((session.connection.as_str(), session.generation), ("app-gw/devices:justins-laptop", 7));
        assert_eq!(session.policy.description, "Prod?[2J");
        assert_eq!(short(&session.connection), "app-gw/devices");
        assert_eq!(Order::read(text.as_bytes()).unwrap().manner, Manner::default());
    }

    #[test]
    fn an_order_from_the_future_came_in_just_now() {
        let read = |received: u64| {
            let text = format!(r#"{{"version":1,"user":"j","device":"d","keys":[],"received":{received}}}"#);
            Order::read(text.as_bytes()).unwrap().manner.received.unwrap()
        };
        assert_eq!(read(1), Boottime::from_millis(1));
        assert!(read(u64::MAX) <= clock::boottime());
    }

    #[test]
    fn another_version_is_refused() {
        let text = r#"{"version":2,"user":"j","device":"d","keys":[]}"#;
        let failure = Order::read(text.as_bytes()).unwrap_err();
        assert_eq!(failure.error, "the bastion speaks version 2 and this program version 1");
    }
}
