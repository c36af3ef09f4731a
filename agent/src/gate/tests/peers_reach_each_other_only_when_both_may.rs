use super::*;

const OTHER: &str = "10.8.0.2";

#[test]
fn of_nftables() {
    holds(Backend::Nftables);
}

#[test]
fn of_ip_rule() {
    holds(Backend::IpRule);
}

fn holds(kind: Backend) {
    let bed = Bed::new();
    let other = Machine::new(&unique());
    join(&bed.gateway, "wg1", &other);
    bed.gateway.ip(&["address", "add", "10.8.0.1/24", "dev", "wg1"]);
    other.ip(&["address", "add", &format!("{OTHER}/24"), "dev", "eth0"]);
    other.ip(&["route", "add", "default", "via", "10.8.0.1"]);
    assert!(bed.pings(PEERS[0], OTHER), "no gate yet");
    bed.with_gate(kind, |gate| {
        let mut layout = layout_of("[tier.there]\nallow = [\"10.8.0.0/24\"]\n[tier.back]\nallow = [\"10.7.0.0/24\"]\n");
        layout.interfaces.insert("wg1".parse().unwrap());
        let there = opening(PEERS[0], "there", HOUR);
        let back = |interface: &str| {
            let addresses = Addresses { interface: interface.parse().unwrap(), ..addresses(OTHER) };
            Opening { addresses, ..opening(OTHER, "back", HOUR) }
        };
        gate.install(&layout, std::slice::from_ref(&there)).unwrap();
        assert!(!bed.pings(PEERS[0], OTHER), "the other one may not answer");
        if kind == Backend::Nftables {
            gate.change(&[back("wg0")], &[]).unwrap();
            assert!(!bed.pings(PEERS[0], OTHER), "an address is open where it was opened only");
        }
        gate.change(&[back("wg1")], &[]).unwrap();
        assert!(bed.pings(PEERS[0], OTHER));
        gate.change(&[], &[(there.addresses, there.tier)]).unwrap();
        assert!(!bed.pings(PEERS[0], OTHER) && !ping(&other, OTHER, PEERS[0]));
    });
}
