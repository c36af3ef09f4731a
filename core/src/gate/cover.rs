//! Which peers of an interface the gate holds back, and which pass freely.

use crate::connection::{Connection, InterfaceRef, Other};
use crate::key::PublicKey;
use crate::policy::{Considered, Policy, PolicySet, Reason, Selection};

/// What the gate at an interface is to one of its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Hold<'p> {
    /// This policy holds the peer back until a grant is in force.
    Until(&'p Policy),
    /// It is held back, and no code opens anything: it is unmonitored, or the policy contradicts itself.
    Shut,
    /// Another kind of policy covers it, or none does, or the gate is at its other end.
    Free,
}

/// What the gate at this end of a connection does to the other one.
pub fn hold<'p>(considered: &Considered<'p>, connection: &Connection, end: &InterfaceRef) -> Hold<'p> {
    let by_firewall = |policy: &Policy| policy.enforce.tier().is_some();
    match &considered.selection {
        Selection::Applies { policy, sides } if by_firewall(policy) => match sides.server_side(connection) {
            Some(server) if server == end => Hold::Until(policy),
            _ => Hold::Free,
        },
        Selection::Conflict { policy, .. } if by_firewall(policy) => Hold::Shut,
        Selection::Applies { .. } | Selection::Conflict { .. } => Hold::Free,
        Selection::None if matches!(connection.name.other, Other::Unmonitored(_)) => {
            let names = considered
                .candidates
                .iter()
                .any(|candidate| candidate.reason == Reason::Unmonitored && by_firewall(candidate.policy));
            if names { Hold::Shut } else { Hold::Free }
        }
        Selection::None => Hold::Free,
    }
}

/// Whether a policy that enforces by the firewall names an interface as the server side: its peers are held back, also
/// those that nobody knows.
pub fn is_gated(set: &PolicySet, interface: &InterfaceRef, public_key: &PublicKey) -> bool {
    set.serving(interface, public_key).any(|policy| policy.enforce.tier().is_some())
}

/// Whether any policy enforces by the firewall.
pub fn has_gates(set: &PolicySet) -> bool {
    set.policies().iter().any(|policy| policy.enforce.tier().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::connections;
    use crate::inventory::Inventory;
    use crate::policy::Selector;

    const GATEWAY: &str = "app-gw/devices";

    fn set(files: &[&str]) -> PolicySet {
        let file = |(at, lines): (usize, &&str)| {
            (format!("{}-a.toml", at + 1), format!("description = \"D\"\nrotation-interval = \"1h\"\n{lines}"))
        };
        PolicySet::parse(&files.iter().enumerate().map(file).collect::<Vec<_>>()).unwrap()
    }

    /// A gateway with justin's laptop, a stranger, and another host as peers.
    fn inventory() -> Inventory {
        let key = |byte| PublicKey::from_bytes([byte; 32]);
        let peer = |byte| serde_json::json!({ "public_key": key(byte) });
        serde_json::from_value(serde_json::json!({ "version": 1,
            "hosts": [
                { "name": "app-gw", "interfaces": [
                    { "name": "devices", "public_key": key(1), "peers": [peer(2), peer(3), peer(4)] }] },
                { "name": "db-gw", "interfaces": [{ "name": "wg0", "public_key": key(4), "peers": [peer(1)] }] }],
            "devices": [{ "name": "justins-laptop", "owner": "justin", "public_key": key(2) }] }))
        .unwrap()
    }

    /// What the gate at app-gw/devices is to the laptop, the stranger and the other host.
    fn holds(set: &PolicySet) -> [String; 3] {
        let (inventory, end) = (inventory(), GATEWAY.parse().unwrap());
        let found = connections(&inventory);
        let mut selector = Selector::new(set);
        [2, 3, 4].map(|byte| {
            let key = PublicKey::from_bytes([byte; 32]);
            let its = |one: &&Connection| one.other_public_key == key || one.public_key == key;
            let connection = found.iter().find(its).unwrap();
            match hold(&selector.consider(connection), connection, &end) {
                Hold::Until(policy) => format!("policy {}", policy.ordinal),
                Hold::Shut => "shut".to_owned(),
                Hold::Free => "free".to_owned(),
            }
        })
    }

    const FIREWALL: &str =
        "mfa = true\nserver-peers = [\"app-gw/devices\"]\nenforce = [\"firewall\"]\ntier = \"prod\"\n";

    #[test]
    fn who_is_covered_needs_a_code_and_who_is_unmonitored_gets_nowhere() {
        let (both, together) = (
            FIREWALL.replace("[\"firewall\"]", "[\"firewall\", \"preshared-key\"]"),
            "mfa = false\npeers = [\"db-gw/wg0\"]",
        );
        assert_eq!(holds(&set(&[together, FIREWALL])), ["policy 2", "shut", "free"]);
        assert_eq!(holds(&set(&[together, &both])), ["policy 2", "shut", "free"]);
        // the other host has no owner: the policy contradicts itself there
        assert_eq!(holds(&set(&[FIREWALL])), ["policy 1", "shut", "shut"]);
        assert_eq!(holds(&set(&[&format!("{FIREWALL}unmonitored = true")])), ["policy 1", "policy 1", "shut"]);
    }

    #[test]
    fn another_kind_of_policy_holds_nobody_back_here() {
        let by_key = "mfa = true\nserver-peers = [\"app-gw/devices\"]\nunmonitored = true";
        assert_eq!(holds(&set(&[by_key, FIREWALL])), ["free", "free", "free"]);
        assert_eq!(holds(&set(&[by_key])), ["free", "free", "free"]);
    }

    #[test]
    fn an_interface_is_gated_as_soon_as_a_policy_names_it() {
        let (name, key) = (GATEWAY.parse().unwrap(), PublicKey::from_bytes([1; 32]));
        assert!(is_gated(&set(&[FIREWALL]), &name, &key));
        assert!(is_gated(&set(&[&FIREWALL.replace("app-gw/devices", "*/dev*")]), &name, &key));
        assert!(is_gated(&set(&[&FIREWALL.replace("app-gw/devices", &key.to_string())]), &name, &key));
        let as_client = FIREWALL.replace("server-peers", "client-peers");
        assert!(!is_gated(&set(&[&as_client]), &name, &key), "its other end is the gateway");
        let by_key = set(&["mfa = true\nserver-peers = [\"app-gw/devices\"]"]);
        assert!(!is_gated(&by_key, &name, &key) && !has_gates(&by_key) && has_gates(&set(&[&as_client])));
    }
}
