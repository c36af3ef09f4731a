//! What a peer's network really is, when other peers hold narrower networks inside it.

use ipnet::IpNet;

/// The parts of a network that none of these narrower ones takes.
///
/// WireGuard gives an address to the peer with the longest prefix, but a packet filter lets through whatever lies in a
/// network: so a wide one is opened only where its own peer is meant.
pub fn parts(network: IpNet, narrower: &[IpNet]) -> Vec<IpNet> {
    let inside: Vec<IpNet> = narrower.iter().filter(|other| network.contains(*other)).copied().collect();
    if inside.contains(&network) {
        return Vec::new();
    }
    if inside.is_empty() {
        return vec![network];
    }
    // something narrower lies inside, so there are bits left to split by
    let halves = network.subnets(network.prefix_len() + 1).into_iter().flatten();
    halves.flat_map(|half| parts(half, &inside)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(network: &str, narrower: &[&str]) -> Vec<String> {
        let narrower: Vec<IpNet> = narrower.iter().map(|text| text.parse().unwrap()).collect();
        parts(network.parse().unwrap(), &narrower).iter().map(IpNet::to_string).collect()
    }

    #[test]
    fn an_address_of_another_peer_is_left_out() {
        assert_eq!(shown("10.0.0.0/30", &["10.0.0.1/32"]), ["10.0.0.0/32", "10.0.0.2/31"]);
        assert_eq!(shown("fd00::/126", &["fd00::2/127", "fd01::/64"]), ["fd00::/127"]);
        assert_eq!(shown("0.0.0.0/0", &["10.0.0.7/32"]).len(), 32);
    }

    #[test]
    fn what_lies_elsewhere_changes_nothing() {
        assert_eq!(shown("10.0.0.0/24", &[]), ["10.0.0.0/24"]);
        assert_eq!(shown("10.0.0.0/24", &["10.0.1.0/24", "10.0.0.0/8", "fd00::/8"]), ["10.0.0.0/24"]);
        assert!(shown("10.0.0.0/24", &["10.0.0.0/24"]).is_empty(), "another peer holds it all");
    }
}
