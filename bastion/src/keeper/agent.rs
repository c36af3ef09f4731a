//! A host's agent: it proves itself to the keeper, reports, deposits, confirms, and is told what concerns its peers.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use jiff::Timestamp;
use russh::keys::ssh_key;
use tokio::sync::mpsc;
use tokio::time::timeout;
use wgmfa_core::key::SecretText;
use wgmfa_core::message::agent::{
    Deposit, FromAgent, MOST_GENERATIONS, PeerRef, SIGNATURE_NAMESPACE, ToAgent, signed_text,
};
use wgmfa_core::message::front::FromFront;
use wgmfa_core::message::{
    BRING_FORWARD, LINE_BEFORE_PROOF, MessageError, VERSION, decode, encode, other_version, version_of,
};
use wgmfa_core::name::HostName;
use wgmfa_core::tandem::PairEnd;
use wgmfa_core::version;

use super::conversation::{Conversation, Over, out_of_place, rest_after};
use super::gates::Gates;
pub use super::links::{Answer, Ask, Link, confirm_within, locked_within};
use super::pairs::{Pairs, Told};
use super::rounds::{Assigned, Made};
use super::{Keeper, say};
use crate::store::{Event, HostRecord, Report};

/// How long an agent has for its proof, and for the subsystem to be asked for.
const PROOF_WITHIN: Duration = Duration::from_secs(20);

/// How long an agent may be silent: it pings every ten seconds.
const SILENCE: Duration = Duration::from_secs(90);

/// The registered hosts, not cut off, that bear this SSH key.
pub fn hosts_with_key(keeper: &Keeper, public_key: &str) -> Vec<HostName> {
    let Ok(offered) = ssh_key::PublicKey::from_openssh(public_key) else { return Vec::new() };
    let same = |line: &str| {
        ssh_key::PublicKey::from_openssh(line).is_ok_and(|registered| registered.key_data() == offered.key_data())
    };
    let hosts = keeper.store.hosts().unwrap_or_default();
    let comes = |host: &HostRecord| !host.disabled && !host.owner_disabled && same(&host.public_key);
    hosts.into_iter().filter(comes).map(|host| host.name).collect()
}

/// Serves a connection that came in with a registered host's key.
///
/// # Errors
/// The connection is gone, or it is ended by the keeper.
pub async fn serve(keeper: &Rc<Keeper>, conversation: &mut Conversation, public_key: &str) -> Result<(), Over> {
    let proof = timeout(PROOF_WITHIN, prove(keeper, conversation, public_key)).await;
    let (channel, host, resident) = proof.map_err(|_| Over::HangUp("no proof in time".to_owned()))??;
    let (asks, mut orders) = mpsc::unbounded_channel();
    let link = Link { conversation: conversation.id, resident, asks };
    keeper.connect(&host, link, conversation.source);
    let mut agent = Agent {
        keeper,
        id: conversation.id,
        channel,
        host: host.clone(),
        assigned: HashSet::new(),
        pairs: Pairs::new(),
        answered: keeper.now(),
        leaves: None,
        next_id: 0,
        pending: BTreeMap::new(),
        pending_next: BTreeMap::new(),
    };
    let result = agent.run(conversation, &mut orders).await;
    keeper.disconnect(&host, conversation.id);
    result
}

/// An agent's first line.
enum Hello {
    Line(Result<FromAgent, MessageError>),
    /// It is of another version, and why the two do not go on.
    OtherVersion(String),
}

/// Waits for the subsystem, challenges, and checks the answer.
async fn prove(
    keeper: &Rc<Keeper>,
    conversation: &mut Conversation,
    public_key: &str,
) -> Result<(u32, HostName, bool), Over> {
    let channel = loop {
        match conversation.next().await? {
            FromFront::Exec { channel, command, subsystem: true, .. } if command == "wgmfa-agent" => break channel,
            FromFront::Exec { channel, .. } => {
                let line = "wgmfa: error: a host may ask for the subsystem wgmfa-agent only\n";
                keeper.output(conversation.id, channel, SecretText::default(), line, Some(1));
            }
            FromFront::ChannelGone { .. } | FromFront::InputEnded { .. } => {}
            _ => return out_of_place(),
        }
    };
    let nonce = base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 32]>());
    let challenge = ToAgent::Challenge {
        version: VERSION,
        nonce: nonce.clone(),
        program: Some(version::PROGRAM.to_owned()),
        clock: Some(Timestamp::now().as_second()),
    };
    tell(keeper, conversation.id, channel, &challenge);
    let hello = match conversation.next().await? {
        FromFront::Line { line, .. } if line.expose().len() > LINE_BEFORE_PROOF => {
            return Err(Over::HangUp("a line before the proof was too long".to_owned()));
        }
        FromFront::Line { line, .. } => {
            let line = line.expose().as_bytes();
            let other = version_of(line).and_then(|theirs| other_version(theirs, "the agents' conversation"));
            other.map_or_else(|| Hello::Line(decode(line)), Hello::OtherVersion)
        }
        FromFront::InputEnded { .. } | FromFront::ChannelGone { .. } => return Err(Over::Gone),
        _ => return out_of_place(),
    };
    let refuse = |reason: &str| {
        tell(keeper, conversation.id, channel, &ToAgent::Refused { reason: reason.to_owned() });
        keeper.output(conversation.id, channel, SecretText::default(), "", Some(1));
        Err(Over::HangUp(reason.to_owned()))
    };
    match hello {
        Hello::OtherVersion(what) => refuse(&format!("{what}: {BRING_FORWARD}")),
        Hello::Line(Ok(FromAgent::Hello { host, signature, resident, program, .. })) => {
            let owners = hosts_with_key(keeper, public_key);
            if !owners.contains(&host) {
                // whose key it is has caused this line: the name is only a claim
                if let Some(owner) = owners.first() {
                    let reason = format!("this SSH key is not the one of the host it names: {host}");
                    keeper.refused_host(owner, conversation.source, &reason);
                }
                return refuse("this SSH key is not registered for the host that the agent names");
            }
            if !signed(public_key, &signature, &signed_text(&nonce, &host)) {
                keeper.refused_host(&host, conversation.source, "the signature over the nonce is not good");
                return refuse("the signature over the nonce is not good");
            }
            keeper.host_keys.heard_version(&host, version::told(program.as_deref()));
            tell(keeper, conversation.id, channel, &ToAgent::Welcome { host: host.clone() });
            Ok((channel, host, resident))
        }
        Hello::Line(_) => refuse("the first line must be hello"),
    }
}

/// Whether a signature (SSHSIG) over this text was made by this key.
fn signed(public_key: &str, signature: &str, text: &str) -> bool {
    let Ok(key) = ssh_key::PublicKey::from_openssh(public_key) else { return false };
    let Ok(signature) = ssh_key::SshSig::from_pem(signature) else { return false };
    key.verify(SIGNATURE_NAMESPACE, text.as_bytes(), &signature).is_ok()
}

fn tell(keeper: &Keeper, conversation: u64, channel: u32, message: &ToAgent) {
    let line = String::from_utf8(encode(message)).expect("JSON is UTF-8");
    keeper.output(conversation, channel, SecretText::new(line), "", None);
}

/// A host that has proved itself.
struct Agent<'a> {
    keeper: &'a Rc<Keeper>,
    id: u64,
    channel: u32,
    host: HostName,
    /// The peers for which this host may deposit: those of the last assignments.
    assigned: HashSet<PeerRef>,
    /// The same of those whose key both ends change together.
    pairs: Pairs,
    /// When they were told.
    answered: Timestamp,
    /// Why it is hung up on when it has answered what it was asked.
    leaves: Option<String>,
    next_id: u64,
    pending: BTreeMap<u64, Answer>,
    pending_next: BTreeMap<u64, Answer<Deposit>>,
}

impl Agent<'_> {
    async fn run(
        &mut self,
        conversation: &mut Conversation,
        orders: &mut mpsc::UnboundedReceiver<Ask>,
    ) -> Result<(), Over> {
        loop {
            tokio::select! {
                biased; // an order that was recorded before a report is answered is given before it
                Some(order) = orders.recv() => self.order(order)?,
                event = timeout(SILENCE, conversation.next()) => match event {
                    Err(_) => return Err(Over::HangUp(format!("{} was silent for {} s", self.host, SILENCE.as_secs()))),
                    Ok(event) => match event? {
                        FromFront::Line { channel, line, .. } if channel == self.channel => {
                            let began = Instant::now();
                            self.hear(line.expose())?;
                            rest_after(began.elapsed()).await;
                        }
                        FromFront::InputEnded { channel, .. } | FromFront::ChannelGone { channel, .. } if channel == self.channel => {
                            self.keeper.output(self.id, self.channel, SecretText::default(), "", Some(0));
                            return Err(Over::Gone);
                        }
                        FromFront::ChannelGone { .. } | FromFront::InputEnded { .. } => {}
                        _ => return out_of_place(),
                    },
                },
            }
        }
    }

    fn tell(&self, message: &ToAgent) {
        tell(self.keeper, self.id, self.channel, message);
    }

    fn refuse(&self, reason: &str) -> Result<(), Over> {
        self.tell(&ToAgent::Refused { reason: reason.to_owned() });
        self.keeper.output(self.id, self.channel, SecretText::default(), "", Some(1));
        Err(Over::HangUp(format!("{}: {reason}", self.host)))
    }

    fn order(&mut self, order: Ask) -> Result<(), Over> {
        self.next_id += 1;
        let id = self.next_id;
        self.pending.retain(|_, answer| !answer.is_closed()); // those who do not wait any more
        self.pending_next.retain(|_, answer| !answer.is_closed());
        match order {
            Ask::Open(which, seconds_left, answer) => {
                self.pending.insert(id, answer);
                self.tell(&ToAgent::Open { id, which, seconds_left });
            }
            Ask::Lock(peer, reason, answer) => {
                self.pending.insert(id, answer);
                self.tell(&ToAgent::Lock { id, peer, reason });
            }
            Ask::MakeNext(peer, above, answer) => {
                self.pending_next.insert(id, answer);
                self.tell(&ToAgent::MakeNext { id, peer, above });
            }
            Ask::ChangeTo(which, seconds_left, answer) => {
                self.pending.insert(id, answer);
                self.tell(&ToAgent::ChangeTo { id, which, seconds_left });
            }
            Ask::Put(delivery, answer) => {
                self.pending.insert(id, answer);
                self.tell(&ToAgent::Put { id, delivery });
            }
            Ask::Grant(which, seconds_left, answer) => {
                self.pending.insert(id, answer);
                self.tell(&ToAgent::Grant { id, which, seconds_left });
            }
            Ask::Revoke(peer, reason, answer) => {
                self.pending.insert(id, answer);
                self.tell(&ToAgent::Revoke { id, peer, reason });
            }
            Ask::Round(reason) => self.tell(&ToAgent::Round { reason }),
            Ask::HangUp(reason) => return self.refuse(&reason),
        }
        Ok(())
    }

    fn hear(&mut self, line: &str) -> Result<(), Over> {
        let Ok(message) = FromAgent::decode(line.as_bytes()) else {
            return self.refuse("a line is no message of this conversation");
        };
        self.keeper.heard(&self.host);
        match message {
            FromAgent::Hello { .. } => return self.refuse("hello was said before"),
            FromAgent::Knows { host_keys } => self.keeper.host_keys.heard(&self.host, host_keys),
            FromAgent::Ping => self.tell(&ToAgent::Pong),
            FromAgent::Report {
                interfaces,
                handshake_ages,
                next_in_seconds,
                events,
                log_head,
                highest,
                holds,
                stood_down,
                open,
                interrupted,
            } => {
                if let Err(reason) = self.keeper.hear_head(&self.host, log_head.as_ref()) {
                    return self.refuse(&reason);
                }
                let report =
                    Report { interfaces: &interfaces, handshake_ages: &handshake_ages, next_in_seconds, stood_down };
                let made = Made { highest: &highest, holds: &holds, open: &open };
                match self.keeper.take_report(&self.host, &report, &events, made) {
                    Ok(Assigned { assignments, uncovered, pairs, gates }) => {
                        self.answered = self.keeper.now();
                        self.assigned = assignments.iter().map(|assignment| assignment.peer.clone()).collect();
                        let place =
                            |told: &Told| (told.assignment.peer.clone(), (told.assignment.end, told.pair.clone()));
                        self.pairs = pairs.iter().map(place).collect();
                        let pairs = pairs.into_iter().map(|told| told.assignment).collect();
                        let restored = self.keeper.hand_back(&self.host, interrupted, &assignments);
                        let (deliveries, log_head) = (self.keeper.deliveries(&self.host), self.keeper.log_head());
                        let Gates { gates, free, gated } = gates;
                        let gated = gated.into_iter().collect();
                        self.tell(&ToAgent::Assignments {
                            assignments,
                            uncovered,
                            deliveries,
                            log_head,
                            pairs,
                            gates,
                            free,
                            gated,
                            restored,
                            host_keys: self.keeper.host_keys.announced(),
                        });
                    }
                    // a host that is cut off may still confirm its locks
                    Err(reason) => self.leaves = Some(reason),
                }
            }
            FromAgent::Deposit { mut deposits } => {
                deposits.truncate(MOST_GENERATIONS);
                deposits.retain(|deposit| self.may_make(&deposit.which.peer));
                match self.keeper.take_deposits(&self.host, &self.pairs, self.answered, deposits) {
                    Ok(deposits) => self.tell(&ToAgent::Stored { deposits }),
                    Err(error) => return self.refuse(&error.to_string()),
                }
            }
            FromAgent::Applied { mut applied, mut staged } => {
                applied.truncate(MOST_GENERATIONS);
                staged.truncate(MOST_GENERATIONS);
                applied
                    .retain(|applied| self.assigned.contains(&applied.peer) || self.pairs.contains_key(&applied.peer));
                let noted = self.keeper.take_staged(&self.pairs, &staged);
                let noted = noted.and_then(|staged| {
                    let applied = self.keeper.take_applied(&self.host, &self.pairs, applied)?;
                    Ok(ToAgent::Noted { applied, staged })
                });
                match noted {
                    Ok(noted) => self.tell(&noted),
                    Err(error) => return self.refuse(&error.to_string()),
                }
            }
            FromAgent::Opened { id, refused } => self.answer(id, refused),
            FromAgent::Locked { id, failed } => self.answer(id, failed),
            FromAgent::Put { id, refused } | FromAgent::Granted { id, refused } => self.answer(id, refused),
            FromAgent::Revoked { id, failed } => self.answer(id, failed),
            FromAgent::CheckCode { id, peer, tiers, code } => {
                let verdict = self.keeper.check_code(&self.host, &peer, &tiers, &code);
                self.tell(&ToAgent::CodeChecked { id, verdict });
            }
            FromAgent::Next { id, deposit, refused } => {
                if let Some(answer) = self.pending_next.remove(&id) {
                    let _ = answer.send(deposit.ok_or_else(|| refused.unwrap_or_default()));
                }
            }
            FromAgent::Changed { id, which, refused } => {
                super::crash_point("change-confirmed");
                // recorded also when nobody waits any more: it stands on the server
                let noted = match refused {
                    Some(reason) => Some(reason),
                    None => match self.keeper.take_change(&self.host, &which) {
                        Ok(true) => None,
                        Ok(false) => Some("the session was over".to_owned()),
                        Err(reason) => return self.refuse(&reason),
                    },
                };
                self.answer(id, noted);
            }
        }
        let is_asked = self.pending.values().any(|answer| !answer.is_closed());
        self.leaves.take_if(|_| !is_asked).map_or(Ok(()), |reason| self.refuse(&reason))
    }

    /// Whether this host makes the generations of a peer.
    fn may_make(&self, peer: &PeerRef) -> bool {
        self.assigned.contains(peer) || matches!(self.pairs.get(peer), Some((PairEnd::First, _)))
    }

    fn answer(&mut self, id: u64, trouble: Option<String>) {
        if let Some(answer) = self.pending.remove(&id) {
            let result = match trouble {
                None => Ok(()),
                Some(reason) => Err(reason),
            };
            // who asked may have stopped waiting
            let _ = answer.send(result);
        }
    }
}

impl Keeper {
    fn refused_host(&self, host: &HostName, source: std::net::IpAddr, reason: &str) {
        say(&format!("{source}: {host}: {reason}"));
        self.note_host(host, Event::HostRefused, Some(source), reason);
    }
}
