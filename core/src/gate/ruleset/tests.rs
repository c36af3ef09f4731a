use super::*;
use crate::document::Document;
use crate::tier::Tiers;

fn tiers(text: &str) -> Tiers {
    let mut document = Document::parse("agent.toml", text).unwrap();
    let tiers = Tiers::read(&mut document);
    document.finish().unwrap();
    tiers
}

fn office() -> Layout {
    let free = [("wg0", "10.7.0.9/32"), ("wg0", "fd07::9/128"), ("wg1", "10.9.0.0/25"), ("wg1", "10.9.0.128/25")];
    let free = free.map(|(interface, network)| addresses(interface, network));
    Layout {
        interfaces: ["wg0", "wg1"].map(|name| name.parse().unwrap()).into(),
        free: free.into(),
        tiers: tiers(
            r#"
            [tier.0]
            allow = ["10.0.0.1:22/tcp", "[fd00::1]:22/tcp"]
            [tier.prod]
            allow = ["10.1.0.0/16", "fd00:1::/48", "10.1.2.0/24", "10.2.0.5:443/tcp", "10.2.0.5:53/udp", "10.3.0.1"]
            [tier.admin]
            allow = ["10.9.0.0/24"]
            from = "prod"
            "#,
        ),
        code_port: 7777,
    }
}

fn addresses(interface: &str, network: &str) -> Addresses {
    Addresses { interface: interface.parse().unwrap(), network: network.parse().unwrap() }
}

fn opening(network: &str, tier: &str, left: Duration) -> Opening {
    Opening { addresses: addresses("wg0", network), tier: tier.parse().unwrap(), left }
}

#[test]
fn a_gate_without_grants_reads_like_this() {
    assert_eq!(text(&office(), &[]), include_str!("closed.nft"));
}

#[test]
fn a_gate_with_grants_reads_like_this() {
    let hour = Duration::from_millis(3_599_123);
    let openings = [
        opening("10.7.0.2/32", "prod", hour),
        opening("10.7.0.3/32", "prod", Duration::from_secs(5)),
        opening("fd07::2/128", "prod", hour),
        opening("10.7.1.0/24", "admin", hour),
        opening("10.7.0.4/32", "prod", Duration::from_millis(19)),
        opening("10.7.0.4/32", "gone", hour),
    ];
    assert_eq!(text(&office(), &openings), include_str!("open.nft"));
}

#[test]
fn nothing_is_held_back_where_no_interface_is_gated() {
    let text = text(&Layout { interfaces: BTreeSet::new(), ..office() }, &[]);
    assert!(!text.contains("jump") && !text.contains("accept\n"), "{text}");
}

#[test]
fn single_addresses_and_networks_have_sets_of_their_own() {
    let prod = "prod".parse().unwrap();
    assert_eq!(tier_set(&prod, false, false), "tier_prod_4");
    assert_eq!(tier_set(&prod, true, false), "tier_prod_4_wide");
    assert_eq!(tier_set(&prod, false, true), "tier_prod_6");
    assert_eq!(tier_set(&prod, true, true), "tier_prod_6_wide");
    // nor does one tier's set bear the name of another's
    let names = ["prod", "prod_wide", "prod_4", "prod_4_wide"].map(|name| name.parse().unwrap());
    let kinds = [(false, false), (true, false), (false, true), (true, true)];
    let sets = names.iter().flat_map(|tier| kinds.map(|(wide, v6)| tier_set(tier, wide, v6)));
    assert_eq!(sets.collect::<BTreeSet<_>>().len(), names.len() * kinds.len());
}
