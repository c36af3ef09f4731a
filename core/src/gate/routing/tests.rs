use super::*;
use crate::document::Document;
use crate::tier::Tiers;

fn layout() -> Layout {
    let text = "[tier.0]\nallow = [\"10.0.0.1:22/tcp\"]\n[tier.prod]\nallow = [\"10.1.0.0/16\", \"10.2.0.5:443/tcp\"]\n\
                [tier.admin]\nallow = [\"0.0.0.0/0\"]\nfrom = \"prod\"\n";
    let mut document = Document::parse("agent.toml", text).unwrap();
    let tiers = Tiers::read(&mut document);
    document.finish().unwrap();
    let free = [addresses("10.7.0.9/32")].into();
    Layout { interfaces: ["wg0".parse().unwrap()].into(), free, tiers, code_port: 7777 }
}

fn addresses(network: &str) -> Addresses {
    Addresses { interface: "wg0".parse().unwrap(), network: network.parse().unwrap() }
}

fn open(grants: &[(&str, &str)]) -> Open {
    grants.iter().map(|(network, tier)| (addresses(network), tier.parse().unwrap())).collect()
}

/// The rules of IPv4 as `ip rule` would say them.
fn shown(routing: &Routing) -> Vec<String> {
    let show = |rule: &Rule| {
        let mut words = vec![format!("{}:", rule.priority)];
        words.extend(rule.from.map(|from| format!("from {from}")));
        words.extend(rule.to.map(|to| format!("to {to}")));
        words.extend(rule.interface.as_ref().map(|name| format!("iif {name}")));
        words.extend(rule.protocol.map(|protocol| format!("ipproto {protocol}")));
        words.extend(rule.source.map(|(first, last)| format!("sport {first}-{last}")));
        words.extend(rule.destination.map(|(first, last)| format!("dport {first}-{last}")));
        words.push(format!("{:?}", rule.act));
        words.join(" ")
    };
    routing.rules.iter().filter(|rule| !rule.v6).map(show).collect()
}

#[test]
fn two_stages_ask_for_leave() {
    let open = open(&[("10.7.0.2/32", "prod")]);
    let sections = sections(&Sections::new(), &open).unwrap();
    let routing = routing(&layout(), &open, &sections, &["10.7.0.0/24".parse().unwrap()]);
    assert_eq!(
        shown(&routing),
        [
            "200: from 10.7.0.9/32 iif wg0 Goto(500)",
            "201: from 10.7.0.2/32 iif wg0 Goto(220)",
            "210: to 10.0.0.1/32 iif wg0 ipproto 6 dport 22-22 Goto(500)",
            "211: iif wg0 Lookup(777790)",
            "212: Goto(500)",
            "220: Nop",
            "220: to 10.0.0.1/32 ipproto 6 dport 22-22 Goto(500)",
            "220: to 10.2.0.5/32 ipproto 6 dport 443-443 Goto(500)",
            "221: Lookup(777700)",
            "222: Goto(500)",
            "500: Nop",
            "501: iif lo ipproto 1 dport 768-1023 Goto(900)",
            "501: iif lo ipproto 1 dport 2816-3327 Goto(900)",
            "501: iif lo ipproto 6 sport 7777-7777 Goto(900)",
            "502: to 10.7.0.9/32 Goto(900)",
            "503: to 10.7.0.2/32 Goto(520)",
            "510: from 10.0.0.1/32 ipproto 6 sport 22-22 Goto(900)",
            "511: Lookup(777791)",
            "512: Goto(900)",
            "520: Nop",
            "520: from 10.0.0.1/32 ipproto 6 sport 22-22 Goto(900)",
            "520: from 10.1.0.0/16 Goto(900)",
            "520: from 10.2.0.5/32 ipproto 6 sport 443-443 Goto(900)",
            "521: Prohibit",
            "900: Nop",
        ]
    );
    let routes: Vec<String> =
        routing.routes.iter().filter(|route| route.to.addr().is_ipv4()).map(|r| format!("{r:?}")).collect();
    assert_eq!(
        routes,
        [
            "Route { table: 777700, to: 0.0.0.0/0, prohibit: true }",
            "Route { table: 777700, to: 10.1.0.0/16, prohibit: false }",
            "Route { table: 777790, to: 0.0.0.0/0, prohibit: true }",
            "Route { table: 777791, to: 10.7.0.0/24, prohibit: true }",
        ]
    );
}

#[test]
fn a_tier_may_allow_everything() {
    let open = open(&[("10.7.0.2/32", "admin")]);
    let routing = routing(&layout(), &open, &sections(&Sections::new(), &open).unwrap(), &[]);
    let of_section: Vec<_> =
        routing.routes.iter().filter(|route| route.table == TABLES && route.to.addr().is_ipv4()).collect();
    assert_eq!(of_section.len(), 1);
    assert!(!of_section[0].prohibit);
}

#[test]
fn a_set_of_tiers_keeps_its_section() {
    let first = sections(&Sections::new(), &open(&[("10.7.0.2/32", "prod"), ("10.7.0.3/32", "prod")])).unwrap();
    assert_eq!(first.values().collect::<Vec<_>>(), [&0]);
    let both = open(&[("10.7.0.2/32", "admin"), ("10.7.0.2/32", "prod"), ("10.7.0.3/32", "prod")]);
    let second = sections(&first, &both).unwrap();
    let prod: BTreeSet<TierName> = ["prod".parse().unwrap()].into();
    assert_eq!(second.len(), 2);
    assert_eq!(second[&prod], 0);
    let third = sections(&second, &open(&[("10.7.0.2/32", "admin")])).unwrap();
    assert_eq!(third.into_values().collect::<Vec<_>>(), [0], "the number of those that are gone is given again");
}

#[test]
fn there_is_nothing_where_no_interface_is_gated() {
    let layout = Layout { interfaces: BTreeSet::new(), ..layout() };
    assert_eq!(routing(&layout, &Open::new(), &Sections::new(), &[]), Routing::default());
}
