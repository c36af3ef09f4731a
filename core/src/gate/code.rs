//! A one-time code that was given inside a tunnel: whether a gateway may ask about it, what it opens, and what is said.
//!
//! Failures count for a person, a gateway and a public key, with the lengths of failed logins ([`crate::guessing`]). They
//! have nothing to do with those of logins: whoever holds a lost device keeps its owner out of no SSH login.

use jiff::{SignedDuration, Timestamp};

use crate::connection::{Connection, InterfaceRef};
use crate::gate::CodeVerdict;
use crate::guessing::{self, FAILURES_TO_LOCK, PairRecord, PersonRecord};
use crate::message::agent::TierWish;
use crate::name::{TierName, UserName};
use crate::policy::{Enforce, Selection};

/// So many tiers can open with one code.
const MOST_TIERS: usize = 16;

/// What the bastion knows about a question.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The connection whose peer is meant, and what the policies say of it; none: the host reports no such peer.
    pub connection: Option<(&'a Connection, &'a Selection<'a>)>,
    /// The interface of the host that asks.
    pub end: &'a InterfaceRef,
    /// Why nobody may come in, when an administrator has cut off the person, the device or the host.
    pub cut_off: Option<&'a str>,
    /// Until when a key of this connection is released.
    pub key_until: Option<Timestamp>,
    /// What the code is to open: the policy's tier first, then what lies above it.
    pub tiers: &'a [TierWish],
}

/// Whether a code may be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// Judge it.
    Judge(Question),
    /// No code is good here, and why.
    Refuse(&'static str),
}

/// Whose code it must be, and what it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The person.
    pub person: UserName,
    /// Each tier that is to be granted, and until when.
    pub grants: Vec<(TierName, Timestamp)>,
}

/// May this host ask about a code of this peer? Only about owners of peers at its own side of a connection, and only
/// where a policy enforces by the firewall.
pub fn may_ask(facts: &Facts<'_>, now: Timestamp) -> Admission {
    let Some((connection, selection)) = facts.connection else {
        return Admission::Refuse("the bastion knows of no such peer here");
    };
    let (policy, sides) = match selection {
        Selection::Applies { policy, sides } => (*policy, sides),
        Selection::Conflict { .. } => return Admission::Refuse("the policies contradict each other here"),
        Selection::None => return Admission::Refuse("no policy asks for a code here"),
    };
    let (base, with_key) = match &policy.enforce {
        Enforce::PresharedKey => return Admission::Refuse("no policy asks for a code here"),
        Enforce::Firewall(tier) => (tier, false),
        Enforce::Both(tier) => (tier, true),
    };
    if sides.server_side(connection) != Some(facts.end) {
        return Admission::Refuse("the other end of this connection asks for codes");
    }
    if facts.cut_off.is_some() {
        return Admission::Refuse("an administrator has cut this connection off");
    }
    let Some(person) = sides.client_owner(connection) else {
        return Admission::Refuse("this peer belongs to nobody, so no code is good here");
    };
    if facts.tiers.len() > MOST_TIERS {
        return Admission::Refuse("too many tiers at once");
    }
    let Some((first, above)) = facts.tiers.split_first().filter(|(first, _)| first.tier == *base) else {
        return Admission::Refuse("the policy gives another tier here");
    };
    let whole = after(now, policy.rotation_interval.as_seconds());
    let until = |wish: &TierWish| {
        let end = wish.lifetime.map_or(whole, |lifetime| after(now, lifetime).min(whole));
        (wish.tier.clone(), facts.key_until.filter(|_| with_key).map_or(end, |key| end.min(key)))
    };
    let grants: Vec<_> = match with_key {
        false => std::iter::once(first).chain(above).map(until).collect(),
        // the policy's own tier opens and closes with the key
        true if above.is_empty() => {
            return Admission::Refuse("this tier opens and closes with the key: log in on the bastion");
        }
        true => above.iter().map(until).collect(),
    };
    if grants.iter().any(|(_, until)| *until <= now) {
        return Admission::Refuse("the session is over: log in on the bastion");
    }
    Admission::Judge(Question { person: person.clone(), grants })
}

fn after(now: Timestamp, seconds: u64) -> Timestamp {
    let length = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    now.saturating_add(length).unwrap_or(Timestamp::MAX)
}

/// Whether a code is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Attempt {
    /// Store this record, in which the attempt is charged as a failure; then judge the code.
    Judge(PairRecord),
    /// Refuse whatever the code is: the pause after too many failures lasts until then.
    Locked {
        /// Its end.
        until: Timestamp,
    },
}

/// Decides whether a code is looked at, and charges the attempt.
pub fn attempt(record: &PairRecord, now: Timestamp) -> Attempt {
    // the person's day is none of this: without a day that is full, only the pair's own lock can refuse
    match guessing::attempt(record, &PersonRecord::default(), false, now) {
        guessing::Attempt::Judge { pair, .. } => Attempt::Judge(pair),
        guessing::Attempt::Refuse(guessing::Refusal::Locked { until }) => Attempt::Locked { until },
        guessing::Attempt::Refuse(guessing::Refusal::Restricted) => Attempt::Locked { until: now },
    }
}

/// What is said to a code that was not good, by the record in which it is charged.
pub fn wrong(charged: &PairRecord, now: Timestamp) -> CodeVerdict {
    match charged.lock_at(now) {
        Some(until) => locked(until, now),
        None => CodeVerdict::Wrong { tries_left: FAILURES_TO_LOCK.saturating_sub(charged.failures) },
    }
}

/// What is said while a pause lasts; what has begun counts as a whole second.
pub fn locked(until: Timestamp, now: Timestamp) -> CodeVerdict {
    let left = u64::try_from(until.duration_since(now).as_millis()).unwrap_or(0);
    CodeVerdict::Locked { seconds: left.div_ceil(1000).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::connections;
    use crate::key::PublicKey;
    use crate::policy::{PolicySet, select};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn set(lines: &str) -> PolicySet {
        let text = format!("description = \"D\"\nrotation-interval = \"1h\"\nmfa = true\n{lines}");
        PolicySet::parse(&[("7-a.toml".to_owned(), text)]).unwrap()
    }

    const FIREWALL: &str = "server-peers = [\"app-gw/devices\"]\nenforce = [\"firewall\"]\ntier = \"prod\"";
    const BOTH: &str =
        "server-peers = [\"app-gw/devices\"]\nenforce = [\"firewall\", \"preshared-key\"]\ntier = \"prod\"";

    fn laptop() -> Connection {
        let key = |byte| PublicKey::from_bytes([byte; 32]);
        let inventory = serde_json::from_value(serde_json::json!({ "version": 1,
            "hosts": [{ "name": "app-gw", "interfaces": [
                { "name": "devices", "public_key": key(1), "peers": [{ "public_key": key(2) }] }] }],
            "devices": [{ "name": "justins-laptop", "owner": "justin", "public_key": key(2) }] }));
        connections(&inventory.unwrap()).remove(0)
    }

    fn wish(tier: &str, lifetime: Option<u64>) -> TierWish {
        TierWish { tier: tier.parse().unwrap(), lifetime }
    }

    /// A question of the laptop's gateway for two tiers.
    struct Case {
        set: PolicySet,
        connection: Option<Connection>,
        end: &'static str,
        cut_off: Option<&'static str>,
        key_until: Option<Timestamp>,
        tiers: Vec<TierWish>,
    }

    fn case(lines: &str) -> Case {
        let tiers = vec![wish("prod", None), wish("admin", Some(600))];
        let (set, connection) = (set(lines), Some(laptop()));
        Case { set, connection, end: "app-gw/devices", cut_off: None, key_until: None, tiers }
    }

    impl Case {
        /// What is granted, in seconds from now, or why nothing is.
        fn asked(&self) -> Result<Vec<(String, i64)>, &'static str> {
            let known = self.connection.as_ref().map(|connection| (connection, select(&self.set, connection)));
            let connection = known.as_ref().map(|(connection, selection)| (*connection, selection));
            let Self { cut_off, key_until, ref tiers, .. } = *self;
            let end = self.end.parse().unwrap();
            match may_ask(&Facts { connection, end: &end, cut_off, key_until, tiers }, at(0)) {
                Admission::Judge(Question { person, grants }) => {
                    assert_eq!(person.as_str(), "justin");
                    let left = |until: &Timestamp| until.duration_since(at(0)).as_secs();
                    Ok(grants.iter().map(|(tier, until)| (tier.to_string(), left(until))).collect())
                }
                Admission::Refuse(reason) => Err(reason),
            }
        }
    }

    #[test]
    fn a_code_opens_the_policys_tier_and_the_steps_above_it_no_longer_than_the_policy_says() {
        let hour = ("prod".to_owned(), 3600);
        assert_eq!(case(FIREWALL).asked(), Ok(vec![hour.clone(), ("admin".to_owned(), 600)]));
        let of = |tiers| Case { tiers, ..case(FIREWALL) }.asked();
        assert_eq!(of(vec![wish("prod", Some(86_400))]), Ok(vec![hour]));
        assert_eq!(of(vec![wish("admin", None), wish("prod", None)]), Err("the policy gives another tier here"));
        assert!(of(Vec::new()).is_err());
        assert_eq!(of(vec![wish("prod", None); 17]), Err("too many tiers at once"));
    }

    #[test]
    fn with_a_key_too_only_steps_up_are_granted_and_no_longer_than_the_key() {
        assert_eq!(case(BOTH).asked(), Ok(vec![("admin".to_owned(), 600)]));
        let until = |lines, second| Case { key_until: Some(at(second)), ..case(lines) }.asked();
        assert_eq!(until(BOTH, 60), Ok(vec![("admin".to_owned(), 60)]));
        assert!(until(BOTH, 0).is_err());
        let base = Case { tiers: vec![wish("prod", None)], ..case(BOTH) };
        assert!(base.asked().unwrap_err().contains("with the key"));
        // without enforcement by the key, an old key's end is nothing
        assert_eq!(until(FIREWALL, 0).unwrap().len(), 2);
    }

    #[test]
    fn a_host_may_ask_only_about_owners_of_its_own_peers_where_a_policy_says_so() {
        let other_end = "the other end of this connection asks for codes";
        assert_eq!(Case { end: "db-gw/wg0", ..case(FIREWALL) }.asked(), Err(other_end));
        let unknown = "the bastion knows of no such peer here";
        assert_eq!(Case { connection: None, ..case(FIREWALL) }.asked(), Err(unknown));
        for uncovered in ["server-peers = [\"app-gw/devices\"]", "server-peers = [\"db-gw/*\"]"] {
            assert_eq!(case(uncovered).asked(), Err("no policy asks for a code here"));
        }
        let twice = format!("{FIREWALL}\nclient-peers = [\"app-*/devices\"]");
        assert_eq!(case(&twice).asked(), Err("the policies contradict each other here"));
        let cut_off = Case { cut_off: Some("justin is disabled"), ..case(FIREWALL) };
        assert_eq!(cut_off.asked(), Err("an administrator has cut this connection off"));
        let mut stranger = laptop();
        stranger.name.other = crate::connection::Other::Unmonitored(stranger.other_public_key);
        stranger.other_owner = None;
        let open = Case { connection: Some(stranger), ..case(&format!("{FIREWALL}\nunmonitored = true")) };
        assert_eq!(open.asked(), Err("this peer belongs to nobody, so no code is good here"));
    }

    #[test]
    fn five_wrong_codes_bring_a_pause_that_grows() {
        let (mut record, mut now, mut said) = (PairRecord::default(), at(0), Vec::new());
        for _ in 0..2 {
            for _ in 0..5 {
                let Attempt::Judge(charged) = attempt(&record, now) else { panic!("{record:?}") };
                record = charged;
                said.push(match wrong(&record, now) {
                    CodeVerdict::Wrong { tries_left } => format!("{tries_left} left"),
                    CodeVerdict::Locked { seconds } => format!("{seconds} s"),
                    verdict => panic!("{verdict:?}"),
                });
            }
            let Attempt::Locked { until } = attempt(&record, now) else { panic!("{record:?}") };
            assert_eq!(locked(until, until - SignedDuration::from_millis(1)), CodeVerdict::Locked { seconds: 1 });
            now = until;
        }
        assert_eq!(
            said,
            ["4 left", "3 left", "2 left", "1 left", "30 s", "4 left", "3 left", "2 left", "1 left", "60 s"]
        );
    }
}
