//! Reading a report. It has a line for each of very many peers: so each value is read into its type at once, where serde
//! keeps a value in a form of its own as long as it does not know the type of the message, or what is flattened into what.

use serde::Deserialize;

use super::{FromAgent, HandshakeAge, LocalEvent, LogHead, PeerGeneration, PeerRef, PeerTier};
use crate::inventory::Interface;
use crate::key::PublicKey;
use crate::message::{MessageError, decode};
use crate::name::InterfaceName;

impl FromAgent {
    /// A message from one line, for the bastion, which reads reports.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn decode(line: &[u8]) -> Result<Self, MessageError> {
        let Ok(report) = decode::<ReportLine>(line) else { return decode(line) };
        let ReportLine {
            _is: IsReport::Report,
            interfaces,
            handshake_ages,
            next_in_seconds,
            events,
            log_head,
            highest,
            stood_down,
            holds,
            open,
            interrupted,
        } = report;
        Ok(Self::Report {
            interfaces,
            handshake_ages,
            next_in_seconds,
            events,
            log_head,
            highest,
            stood_down,
            holds,
            open,
            interrupted,
        })
    }
}

/// A report as it is read.
#[derive(Deserialize)]
struct ReportLine {
    #[serde(rename = "type")]
    _is: IsReport,
    interfaces: Vec<Interface>,
    #[serde(default)]
    handshake_ages: Vec<HandshakeAge>,
    #[serde(default)]
    next_in_seconds: Option<u64>,
    #[serde(default)]
    events: Vec<LocalEvent>,
    #[serde(default)]
    log_head: Option<LogHead>,
    #[serde(default)]
    highest: Vec<PeerGeneration>,
    #[serde(default)]
    stood_down: bool,
    #[serde(default)]
    holds: Vec<PeerGeneration>,
    #[serde(default)]
    open: Vec<PeerTier>,
    #[serde(default)]
    interrupted: Vec<PeerGeneration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum IsReport {
    Report,
}

/// A [`PeerGeneration`] as it is read.
#[derive(Deserialize)]
pub(super) struct PeerGenerationLine {
    interface: InterfaceName,
    public_key: PublicKey,
    generation: u64,
}

impl From<PeerGenerationLine> for PeerGeneration {
    fn from(PeerGenerationLine { interface, public_key, generation }: PeerGenerationLine) -> Self {
        Self { peer: PeerRef { interface, public_key }, generation }
    }
}

/// A [`HandshakeAge`] as it is read.
#[derive(Deserialize)]
pub(super) struct HandshakeAgeLine {
    interface: InterfaceName,
    public_key: PublicKey,
    seconds: u64,
    #[serde(default)]
    before_change: bool,
}

impl From<HandshakeAgeLine> for HandshakeAge {
    fn from(line: HandshakeAgeLine) -> Self {
        let peer = PeerRef { interface: line.interface, public_key: line.public_key };
        Self { peer, seconds: line.seconds, before_change: line.before_change }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::inventory::Peer;
    use crate::message::encode;

    fn peer_ref() -> impl Strategy<Value = PeerRef> {
        (0..3_u8, any::<[u8; 32]>()).prop_map(|(number, key)| PeerRef {
            interface: format!("wg{number}").parse().unwrap(),
            public_key: PublicKey::from_bytes(key),
        })
    }

    fn generations() -> impl Strategy<Value = Vec<PeerGeneration>> {
        vec((peer_ref(), any::<u64>()).prop_map(|(peer, generation)| PeerGeneration { peer, generation }), 0..4)
    }

    fn interface() -> impl Strategy<Value = Interface> {
        let peer = (peer_ref(), any::<bool>()).prop_map(|(peer, keyed)| Peer {
            public_key: peer.public_key,
            allowed_ips: vec!["10.0.0.1/32".to_owned(), "\"\\ü".to_owned()],
            has_preshared_key: keyed,
            fingerprint: keyed.then(|| crate::key::Fingerprint::from_bytes([7; 16])),
            latest_handshake: None,
            handshake_with_this_key: false,
            opened_by_root_for: keyed.then_some(60),
            opened_by_root_until: None,
            kept_locked: false,
            generation: Some(1),
            rotated_at: None,
            released_at: None,
            deadline: None,
        });
        (peer_ref(), any::<Option<u16>>(), vec(peer, 0..4)).prop_map(|(end, listen_port, peers)| Interface {
            name: end.interface,
            public_key: end.public_key,
            listen_port,
            peers,
        })
    }

    fn report() -> impl Strategy<Value = FromAgent> {
        let age = (peer_ref(), any::<u64>(), any::<bool>());
        let age = age.prop_map(|(peer, seconds, before_change)| HandshakeAge { peer, seconds, before_change });
        let event = (any::<String>(), proptest::option::of(peer_ref()), any::<Option<u64>>());
        let event = event.prop_map(|(reason, peer, generation)| LocalEvent {
            event: "idle".to_owned(),
            peer,
            generation,
            tier: generation.map(|_| "prod".parse().unwrap()),
            reason,
            seconds_ago: 1,
        });
        let head = (1..9_u64).prop_map(|seq| LogHead { seq, hash: "0".repeat(64) });
        let open = peer_ref().prop_map(|peer| PeerTier { peer, tier: "prod".parse().unwrap() });
        let generations = [generations(), generations(), generations()];
        let lists = (vec(interface(), 0..3), vec(age, 0..3), vec(event, 0..3), generations, vec(open, 0..3));
        (lists, any::<Option<u64>>(), proptest::option::of(head), any::<bool>()).prop_map(
            |((interfaces, handshake_ages, events, generations, open), next_in_seconds, log_head, stood_down)| {
                let [highest, holds, interrupted] = generations;
                FromAgent::Report {
                    interfaces,
                    handshake_ages,
                    next_in_seconds,
                    events,
                    log_head,
                    highest,
                    stood_down,
                    holds,
                    open,
                    interrupted,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_report_that_is_read_at_once_is_the_one_that_was_sent(report in report()) {
            let line = encode(&report);
            prop_assert_eq!(&encode(&FromAgent::decode(&line).unwrap()), &line);
            prop_assert_eq!(&encode(&decode::<FromAgent>(&line).unwrap()), &line);
        }
    }

    #[test]
    fn whatever_is_no_report_is_read_as_ever() {
        assert!(matches!(FromAgent::decode(b"{\"type\":\"ping\"}"), Ok(FromAgent::Ping)));
        let late = b"{\"interfaces\":[],\"more\":[{}],\"type\":\"report\"}";
        assert!(matches!(FromAgent::decode(late), Ok(FromAgent::Report { .. })));
        for bad in
            ["{\"type\":\"report\"}", "{\"type\":\"none\"}", "{\"interfaces\":[]}", "[]", "", "{\"type\":\"ping\"}}"]
        {
            let column = decode::<FromAgent>(bad.as_bytes()).unwrap_err();
            assert_eq!(FromAgent::decode(bad.as_bytes()).unwrap_err(), column, "{bad}");
        }
    }
}
