//! What another set of policies would change, and for whom.

use std::collections::BTreeSet;

use serde::Serialize;
use wgmfa_core::connection::{Connection, ConnectionName};
use wgmfa_core::name::UserName;
use wgmfa_core::policy::{Policy, PolicySet, Selection, Selector};

use super::tier_row::by_firewall;

/// So many connections of each kind are named to people; the rest is a number.
const MOST_LINES: usize = 20;

/// So many connections are named to programs.
const MOST_OBJECTS: usize = 10_000;

/// What another set of policies does to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Effect {
    /// A policy with a second factor covers it now, and did not before, or not its key; nobody has a session there.
    LockNow,
    /// Another policy applies, or the same one with other values.
    ChangePolicy,
    /// A policy with a second factor covered it, and one without covers it now; or none, and the firewall alone had held
    /// it back.
    LoseSecondFactor,
    /// No policy covers it any more, or one by the firewall alone: its key stays locked, or is locked when its session is
    /// over.
    LockAtDeadline,
}

impl Effect {
    const ALL: [Self; 4] = [Self::LockNow, Self::ChangePolicy, Self::LoseSecondFactor, Self::LockAtDeadline];

    /// In words, of one connection and of several.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::LockNow => ("locks now", "lock now"),
            Self::ChangePolicy => ("changes policy", "change policy"),
            Self::LoseSecondFactor => ("loses its second factor", "lose their second factor"),
            Self::LockAtDeadline => ("stays locked after its deadline", "stay locked after their deadline"),
        }
    }

    fn of(before: &Selection<'_>, after: &Selection<'_>, now: Now) -> Option<Self> {
        let was_mfa = before.policy().is_some_and(Policy::mfa);
        let had_key = was_mfa && !by_firewall(before);
        match after.policy() {
            Some(policy) if policy.mfa() && !was_mfa && !now.session => Some(Self::LockNow),
            // the tunnel itself was open to everybody who has an address there
            Some(policy) if policy.mfa() && !had_key && !by_firewall(after) && !now.session => Some(Self::LockNow),
            // nobody makes another key for it
            Some(policy) if policy.mfa() && had_key && by_firewall(after) && now.key => Some(Self::LockAtDeadline),
            Some(policy) if !policy.mfa() && was_mfa => Some(Self::LoseSecondFactor),
            None if was_mfa && by_firewall(before) => Some(Self::LoseSecondFactor),
            None if was_mfa => Some(Self::LockAtDeadline),
            _ => changed(before, after).then_some(Self::ChangePolicy),
        }
    }
}

/// How a connection stands now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// A session from under an earlier policy is running, and ends at its deadline whatever the policies say.
    pub session: bool,
    /// A key of wgmfa's stands there.
    pub key: bool,
}

/// What another set of policies does to the connections.
#[derive(Debug)]
pub struct Difference<'s> {
    connections: Vec<Concerned<'s>>,
}

/// A connection that it concerns.
#[derive(Debug, Serialize)]
struct Concerned<'s> {
    connection: &'s ConnectionName,
    owner: Option<&'s UserName>,
    effect: Effect,
    /// The policies that win, before and after.
    before: Option<u64>,
    after: Option<u64>,
}

impl<'s> Difference<'s> {
    /// Compares what two sets say. `stands`: how a connection stands now.
    pub fn between(
        old: &PolicySet,
        new: &PolicySet,
        connections: &'s [Connection],
        stands: impl Fn(&Connection) -> Now,
    ) -> Self {
        let (mut old, mut new) = (Selector::new(old), Selector::new(new));
        let concerned = |connection: &'s Connection| {
            let (before, after) = (old.select(connection), new.select(connection));
            Some(Concerned {
                connection: &connection.name,
                owner: connection.person(),
                effect: Effect::of(&before, &after, stands(connection))?,
                before: winner(&before),
                after: winner(&after),
            })
        };
        Self { connections: connections.iter().filter_map(concerned).collect() }
    }

    fn having(&self, effect: Effect) -> impl Iterator<Item = &Concerned<'s>> {
        self.connections.iter().filter(move |concerned| concerned.effect == effect)
    }

    /// `19 connections lock now, 2 change policy`
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for effect in Effect::ALL {
            let (one, several) = effect.words();
            let number = self.having(effect).count();
            if number == 0 {
                continue;
            }
            let noun = match (text.is_empty(), number) {
                (true, 1) => " connection",
                (true, _) => " connections",
                (false, _) => "",
            };
            let comma = if text.is_empty() { "" } else { ", " };
            text.push_str(&format!("{comma}{number}{noun} {}", if number == 1 { one } else { several }));
        }
        if text.is_empty() { "no connection changes".to_owned() } else { text }
    }

    /// The summary, then whom it concerns.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.summary());
        for effect in Effect::ALL {
            let all = self.having(effect).count();
            if all == 0 {
                continue;
            }
            let people: BTreeSet<&UserName> = self.having(effect).filter_map(|concerned| concerned.owner).collect();
            let whose = match people.len() {
                0 => "nobody's".to_owned(),
                1 => "1 person's".to_owned(),
                several => format!("{several} people's"),
            };
            text.push_str(&format!("{} ({whose}):\n", effect.words().1));
            for Concerned { connection, owner, before, after, .. } in self.having(effect).take(MOST_LINES) {
                let owner = owner.map(|owner| format!(" ({owner})")).unwrap_or_default();
                text.push_str(&format!("  {connection}{owner}: {}\n", step(*before, *after)));
            }
            if all > MOST_LINES {
                text.push_str(&format!("  and {} more\n", all - MOST_LINES));
            }
        }
        text
    }

    /// The same for programs; `changed`: it was put in force.
    pub fn json(&self, changed: bool) -> serde_json::Value {
        let count = |effect| self.having(effect).count();
        let people: BTreeSet<&UserName> = self.connections.iter().filter_map(|concerned| concerned.owner).collect();
        serde_json::json!({
            "version": 1,
            "changed": changed,
            "lock_now": count(Effect::LockNow),
            "change_policy": count(Effect::ChangePolicy),
            "lose_second_factor": count(Effect::LoseSecondFactor),
            "lock_at_deadline": count(Effect::LockAtDeadline),
            "people": people.iter().take(MOST_OBJECTS).collect::<Vec<_>>(),
            "connections": self.connections.iter().take(MOST_OBJECTS).collect::<Vec<_>>(),
        })
    }
}

/// The policy that wins, also when it contradicts itself.
fn winner(selection: &Selection<'_>) -> Option<u64> {
    match selection {
        Selection::Applies { policy, .. } | Selection::Conflict { policy, .. } => Some(policy.ordinal.0),
        Selection::None => None,
    }
}

fn changed(before: &Selection<'_>, after: &Selection<'_>) -> bool {
    // a file that was only renamed is the same policy
    let unnamed = |policy: &Policy| Policy { file: String::new(), ..policy.clone() };
    match (before, after) {
        (
            Selection::Applies { policy: old, sides: old_sides },
            Selection::Applies { policy: new, sides: new_sides },
        ) => old_sides != new_sides || unnamed(old) != unnamed(new),
        (Selection::None, Selection::None) => false,
        (Selection::Conflict { reason: old, .. }, Selection::Conflict { reason: new, .. }) => old != new,
        _ => true,
    }
}

/// From which policy to which.
fn step(before: Option<u64>, after: Option<u64>) -> String {
    let policy = |of: Option<u64>| of.map_or("no policy".to_owned(), |ordinal| format!("policy {ordinal}"));
    if before == after {
        format!("{}, edited", policy(after))
    } else {
        format!("{} -> {}", policy(before), policy(after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::site::tests::article;

    fn set(files: &[(&str, &str)]) -> PolicySet {
        let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        PolicySet::parse(&files).unwrap()
    }

    const PROD: &str =
        "description = \"Prod\"\nrotation-interval = \"1h\"\nmfa = true\nserver-peers = [\"*/devices\"]\n";
    const INFRA: &str = "description = \"Infra\"\nrotation-interval = \"1d\"\nmfa = false\npeers = [\"*/infra\"]\n";

    #[test]
    fn a_reload_tells_what_it_does_to_the_connections() {
        let site = article();
        let text = |old: &[_], new: &[_]| {
            Difference::between(&set(old), &set(new), &site.connections, |_| Now::default()).summary()
        };
        let (prod, infra) = (("1-prod.toml", PROD), ("2-infra.toml", INFRA));
        assert_eq!(text(&[infra], &[prod, infra]), "8 connections lock now");
        let mail = PROD.replace("*/devices", "mail-gw/*").replace("1h", "10m");
        assert_eq!(
            text(&[("3-prod.toml", PROD)], &[("0-mail.toml", &mail), ("3-prod.toml", PROD)]),
            "2 connections change policy"
        );
        assert_eq!(text(&[prod], &[("9-prod.toml", PROD)]), "8 connections change policy");
        assert_eq!(text(&[prod, infra], &[infra]), "8 connections stay locked after their deadline");
        let two_hours = PROD.replace("1h", "2h");
        let open = INFRA.replace("*/infra", "mail-gw/*");
        assert_eq!(
            text(&[infra, prod], &[("0-open.toml", &open), ("1-prod.toml", &two_hours)]),
            "9 connections change policy, 2 lose their second factor"
        );
        assert_eq!(text(&[prod], &[prod]), "no connection changes");
    }

    #[test]
    fn a_session_that_runs_is_not_said_to_be_locked_now() {
        let site = article();
        let text = |old: &[_], new: &[_]| {
            let stands =
                |connection: &Connection| Now { session: connection.name.to_string().contains("alice"), key: true };
            Difference::between(&set(old), &set(new), &site.connections, stands).summary()
        };
        let (prod, infra) = (("1-prod.toml", PROD), ("2-infra.toml", INFRA));
        assert_eq!(text(&[infra], &[prod, infra]), "4 connections lock now, 4 change policy");
        assert_eq!(text(&[infra], &[infra]), "no connection changes");
    }

    #[test]
    fn a_way_that_changes_locks_what_it_leaves_without_a_key() {
        let site = article();
        let gate = format!("{PROD}enforce = [\"firewall\"]\ntier = \"prod\"\n");
        let text = |old: &str, new: &str, key| {
            let stands = |_: &Connection| Now { session: false, key };
            let (old, new) = (set(&[("1-prod.toml", old)]), set(&[("1-prod.toml", new)]));
            Difference::between(&old, &new, &site.connections, stands).summary()
        };
        assert_eq!(text(PROD, &gate, true), "8 connections stay locked after their deadline");
        assert_eq!(text(PROD, &gate, false), "8 connections change policy");
        assert_eq!(text(&gate, PROD, false), "8 connections lock now");
        assert_eq!(text(&gate, &gate.replace("1h", "2h"), true), "8 connections change policy");
    }

    #[test]
    fn whom_it_concerns_is_named_up_to_a_number() {
        let site = article();
        let mail = PROD.replace("*/devices", "mail-gw/*").replace("1h", "10m");
        let (old, new) = (set(&[("3-prod.toml", PROD)]), set(&[("0-mail.toml", &mail), ("3-prod.toml", PROD)]));
        let difference = Difference::between(&old, &new, &site.connections, |_| Now::default());
        assert_eq!(
            difference.text(),
            "2 connections change policy\nchange policy (2 people's):\n  \
             mail-gw/devices:alice-laptop (alice): policy 3 -> policy 0\n  \
             mail-gw/devices:justins-laptop (justin): policy 3 -> policy 0\n"
        );
        let json = difference.json(false);
        assert_eq!(json["people"], serde_json::json!(["alice", "justin"]));
        assert_eq!(
            json["connections"][1],
            serde_json::json!({
                "connection": "mail-gw/devices:justins-laptop", "owner": "justin", "effect": "change-policy",
                "before": 3, "after": 0,
            })
        );
        let edited =
            Difference::between(&old, &set(&[("3-prod.toml", &PROD.replace("1h", "2h"))]), &site.connections, |_| {
                Now::default()
            });
        assert!(edited.text().contains("(alice): policy 3, edited\n"), "{}", edited.text());
        let many: Vec<_> = site.connections.iter().cycle().take(50).cloned().collect();
        let difference = Difference::between(&old, &set(&[("9-prod.toml", PROD)]), &many, |_| Now::default());
        let text = difference.text();
        assert!(text.ends_with(" more\n") && text.lines().count() == MOST_LINES + 3, "{text}");
    }
}
